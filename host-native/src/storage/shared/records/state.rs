//! What an SQLSTATE asks for: a table, declared once.

use orlop_core::Fault;
use tokio_postgres::Error;

/// What is to be done about an error of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cure {
    /// The same on the same connection, a little later: somebody was in the way.
    Again,
    /// The same on another connection, which may be to another host.
    Reconnect,
    /// Nothing, until there is room on the disk of the database.
    Full,
    /// Nothing: the statement cannot be made.
    None,
}

/// By the beginning of the code; the first that fits decides.
const CURES: [(&str, Cure); 12] = [
    // serialization_failure, deadlock_detected, lock_not_available
    ("40001", Cure::Again),
    ("40P01", Cure::Again),
    ("55P03", Cure::Again),
    // a batch that was sent long ago, by a process that was suspended
    ("OR001", Cure::Again),
    // connection exceptions
    ("08", Cure::Reconnect),
    // admin_shutdown, crash_shutdown, cannot_connect_now
    ("57P01", Cure::Reconnect),
    ("57P02", Cure::Reconnect),
    ("57P03", Cure::Reconnect),
    // read_only_sql_transaction: it is no primary any more
    ("25006", Cure::Reconnect),
    // too_many_connections
    ("53300", Cure::Reconnect),
    // disk_full
    ("53100", Cure::Full),
    // out_of_memory
    ("53200", Cure::Again),
];

/// What is to be done about an error.
pub(super) fn cure(error: &Error) -> Cure {
    match error.code() {
        Some(state) => of_state(state.code()),
        // The connection has died, or speaks another protocol.
        None => Cure::Reconnect,
    }
}

fn of_state(code: &str) -> Cure {
    CURES.iter().find(|(begins, _)| code.starts_with(begins)).map_or(Cure::None, |(_, cure)| *cure)
}

/// An error that is not tried again any more, for the log.
pub(super) fn fault(error: &Error) -> Fault {
    let told = told(error);
    match cure(error) {
        Cure::Again | Cure::Reconnect => Fault::Unavailable(told),
        Cure::Full => Fault::Full(told),
        Cure::None => Fault::Failed(told),
    }
}

/// An error with its cause, which its text leaves out.
pub(super) fn told(error: &Error) -> String {
    match error.as_db_error() {
        Some(told) => {
            let detail = told.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
            format!("the database says: {}{detail} [{}]", told.message(), told.code().code())
        }
        None => match std::error::Error::source(error) {
            Some(cause) => format!("the database cannot be reached: {error}: {cause}"),
            None => format!("the database cannot be reached: {error}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_sorted_by_what_is_to_be_done() {
        for (code, expected) in [
            ("40001", Cure::Again),
            ("40P01", Cure::Again),
            ("55P03", Cure::Again),
            ("OR001", Cure::Again),
            ("08006", Cure::Reconnect),
            ("08P01", Cure::Reconnect),
            ("57P01", Cure::Reconnect),
            ("57014", Cure::None),
            ("25006", Cure::Reconnect),
            ("53300", Cure::Reconnect),
            ("53100", Cure::Full),
            ("23505", Cure::None),
            ("42P01", Cure::None),
        ] {
            assert_eq!(of_state(code), expected, "{code}");
        }
    }
}

//! Why it is not known who sends a request, and what the client is told of that.

/// Why it is not known who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The field cannot be read.
    Malformed,
    /// No such user, password, token or way to log in.
    Wrong,
    /// The token is not valid any more.
    Expired,
    /// The token is good, but not for this.
    Scope,
    /// Too many tries.
    TooMany,
    /// Too many others are being asked for their passwords.
    Busy,
    /// The records are out of reach.
    Unavailable,
}

impl Problem {
    /// What the client is told: never whether there is such a user.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Malformed => "the Authorization header cannot be read",
            Self::Wrong => "the user name, password or token is not right",
            Self::Expired => "the token is not valid any more",
            Self::Scope => "the token does not allow this",
            Self::TooMany => "too many tries to log in; wait a minute",
            Self::Busy => "too many passwords are being checked; come again",
            Self::Unavailable => "the storage of the registry is unavailable; retry later",
        }
    }

    /// After how many seconds the client may try again, if it is told to wait and not to log in otherwise.
    pub(crate) fn wait(self) -> Option<u8> {
        match self {
            Self::TooMany => Some(60),
            Self::Busy => Some(5),
            _ => None,
        }
    }

    /// The error of RFC 6750, section 3.1.
    pub(crate) fn error(self) -> &'static str {
        match self {
            Self::Malformed | Self::TooMany | Self::Busy | Self::Unavailable => "invalid_request",
            Self::Wrong | Self::Expired => "invalid_token",
            Self::Scope => "insufficient_scope",
        }
    }
}

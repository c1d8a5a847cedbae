//! `orlop`: a container registry.

use std::error::Error;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use orlop::command::cli::{AccessCommand, Command, ConfigCommand};
use orlop::command::config::{CommandLine, ConfigError, Loaded};
use orlop::command::{
    activity, administer, browse, copy, delete, deleted, exchange, import, process, retention, start, status, sync,
    token, transfer, usage,
};

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::keep_freed_memory();
    let line = CommandLine::of_process();
    let done = line.load().map_err(Into::into).and_then(|loaded| run(loaded, line));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast::<ConfigError>() {
            Ok(error) => match *error {
                ConfigError::CommandLine(error) => error.exit(),
                error => told(&error.to_string()),
            },
            Err(error) => {
                note(&error);
                let stopped = error.downcast_ref::<copy::Stopped>().map(copy::Stopped::status);
                let broken = error.downcast_ref::<import::Broken>().map(import::Broken::status);
                stopped.or(broken).map_or(ExitCode::FAILURE, Into::into)
            }
        },
    }
}

fn told(reason: &str) -> ExitCode {
    note(reason);
    ExitCode::FAILURE
}

/// Says it on the standard error, whether that is read or not.
fn note(what: impl Display) {
    let _ = writeln!(std::io::stderr(), "orlop: {what}");
}

fn run(loaded: Loaded, line: CommandLine) -> Result<(), Box<dyn Error>> {
    let Loaded { cli, effective, file, warnings } = loaded;
    // These three say it themselves, in their log or with what else they found.
    let tells = matches!(&cli.command, Command::Serve(_) | Command::Reload(_));
    let tells =
        tells || matches!(&cli.command, Command::Config(config) if matches!(config.command, ConfigCommand::Check(_)));
    warnings.iter().filter(|_| !tells).for_each(|warning| note(format!("warning: {warning}")));
    match cli.command {
        Command::Serve(settings) => process::runtime()?.block_on(start::serve(&settings, line, effective, &warnings)),
        Command::Gc(arguments) => start::collect(&arguments, &effective),
        Command::Check(check) => administer::check_stored(&check),
        Command::Scrub(asked) => administer::scrub(&asked),
        Command::Damaged(asked) => administer::damaged(&asked),
        Command::Mirror(mirror) => administer::mirror(&mirror),
        Command::Blob(blob) => administer::locate_blob(&blob),
        Command::Migrate(asked) => administer::migrate(&asked),
        Command::Copy(asked) => copy::copy(&asked),
        Command::Import(asked) => import::import(&asked.command),
        Command::Export(asked) => exchange::export(&asked.command),
        Command::Move(asked) => transfer::copy(&asked),
        Command::Backup(backup) => administer::back_up(&backup),
        Command::Sync(asked) => sync::sync(&asked.command, &effective),
        Command::Retention(asked) => retention::retention(&asked.command, &effective),
        Command::Deleted(asked) => deleted::deleted(&asked, &effective),
        Command::Undelete(asked) => deleted::undelete(&asked, &effective),
        Command::List(asked) => browse::list(&asked, &effective),
        Command::Search(asked) => browse::search(&asked, &effective),
        Command::Compare(asked) => browse::compare(&asked, &effective),
        Command::Show(asked) => browse::show(&asked, &effective),
        Command::Delete(asked) => delete::delete(&asked, &effective),
        Command::Purge(asked) => deleted::purge(&asked, &effective),
        Command::Protect(asked) => deleted::protect(&asked, &effective),
        Command::Unprotect(asked) => deleted::unprotect(&asked, &effective),
        Command::Activity(asked) => activity::activity(&asked, &effective),
        Command::Status(asked) => status::status(&asked, &effective),
        Command::Usage(asked) => usage::usage(&asked, &effective),
        Command::Config(configure) => match configure.command {
            ConfigCommand::Check(settings) => administer::check(&settings, &effective, file.as_deref(), &warnings),
            ConfigCommand::Show(_) => administer::show(&effective),
        },
        Command::User(user) => administer::user(&user.command),
        Command::Token(asked) => token::token(&asked.command, &effective),
        Command::Access(access) => match access.command {
            AccessCommand::Explain(explain) => administer::explain(&explain, &effective),
        },
        Command::Reload(settings) => administer::reload(&settings, &effective, file.as_deref(), &warnings),
    }
}

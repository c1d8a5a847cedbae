//! `orlop`: a container registry.

use std::error::Error;
use std::process::ExitCode;

use orlop::command::cli::{AccessCommand, Command, ConfigCommand, UserCommand};
use orlop::command::config::{CommandLine, ConfigError, Loaded};
use orlop::command::{administer, process, start};

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
            Err(error) => told(&error.to_string()),
        },
    }
}

fn told(reason: &str) -> ExitCode {
    eprintln!("orlop: {reason}");
    ExitCode::FAILURE
}

fn run(loaded: Loaded, line: CommandLine) -> Result<(), Box<dyn Error>> {
    let Loaded { cli, effective, file } = loaded;
    match cli.command {
        Command::Serve(settings) => process::runtime()?.block_on(start::serve(&settings, line)),
        Command::Sweep(arguments) => process::runtime()?.block_on(start::sweep(&arguments)),
        Command::Backup(backup) => administer::back_up(&backup),
        Command::Config(configure) => match configure.command {
            ConfigCommand::Check(settings) => administer::check(&settings, file.as_deref()),
            ConfigCommand::Show(_) => administer::show(&effective),
        },
        Command::User(user) => match user.command {
            UserCommand::Add(named) => administer::user(&named, orlop::auth::identity::users::add),
            UserCommand::Passwd(named) => administer::user(&named, orlop::auth::identity::users::passwd),
            UserCommand::Remove(named) => {
                administer::user(&named, |path, name, _| orlop::auth::identity::users::remove(path, name))
            }
        },
        Command::Access(access) => match access.command {
            AccessCommand::Explain(explain) => administer::explain(&explain),
        },
        Command::Reload(settings) => administer::reload(&settings, file.as_deref()),
    }
}

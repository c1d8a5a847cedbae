//! Adding, changing and removing users of the password file.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::htpasswd::{Hash, Users, check_name};
use crate::settings::watched::read_text;

/// The shortest password that is taken, in characters.
const SHORTEST: usize = 8;

/// Adds a user.
///
/// # Errors
///
/// When there is one of that name, the password is too short, or the file cannot be written.
pub fn add(path: &Path, name: &str, bcrypt: bool) -> Result<(), String> {
    check_name(name)?;
    let (lines, users) = lines(path)?;
    if users.get(name).is_some() {
        return Err(format!("there is a user `{name}` already; change the password with `orlop user passwd {name}`"));
    }
    let mut lines = lines;
    lines.push(line(name, bcrypt)?);
    write(path, &lines)
}

/// Gives a user another password.
///
/// # Errors
///
/// When there is no such user, the password is too short, or the file cannot be written.
pub fn passwd(path: &Path, name: &str, bcrypt: bool) -> Result<(), String> {
    let (mut lines, _) = lines(path)?;
    let place = place(&lines, path, name)?;
    lines[place] = line(name, bcrypt)?;
    write(path, &lines)
}

/// Removes a user.
///
/// # Errors
///
/// When there is no such user, or the file cannot be written.
pub fn remove(path: &Path, name: &str) -> Result<(), String> {
    let (mut lines, _) = lines(path)?;
    let place = place(&lines, path, name)?;
    lines.remove(place);
    write(path, &lines)
}

/// The names of all users, in alphabetical order.
///
/// # Errors
///
/// When the file cannot be read.
pub fn list(path: &Path) -> Result<Vec<String>, String> {
    let (lines, _) = lines(path)?;
    let lines = lines.iter().map(|line| line.trim()).filter(|line| !line.starts_with('#'));
    let mut names: Vec<String> = lines.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect();
    names.sort();
    Ok(names)
}

fn lines(path: &Path) -> Result<(Vec<String>, Users), String> {
    let missing = std::fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let bytes = if missing { Vec::new() } else { read_text(path)? };
    let text = String::from_utf8(bytes).map_err(|_| format!("{} is no text in UTF-8", path.display()))?;
    let users = Users::parse(text.as_bytes()).map_err(|reason| format!("{}, {reason}", path.display()))?;
    Ok((text.lines().map(String::from).collect(), users))
}

fn place(lines: &[String], path: &Path, name: &str) -> Result<usize, String> {
    let of = |line: &String| line.trim().split_once(':').is_some_and(|(user, _)| user == name);
    lines.iter().position(of).ok_or_else(|| format!("there is no user `{name}` in {}", path.display()))
}

fn line(name: &str, bcrypt: bool) -> Result<String, String> {
    let password = ask(name).map_err(|error| format!("the password cannot be read: {error}"))?;
    if password.chars().count() < SHORTEST {
        return Err(format!("the password is too short: it needs {SHORTEST} characters"));
    }
    Ok(format!("{name}:{}", Hash::make(&password, bcrypt)?.as_str()))
}

/// Asks for the password twice, or reads a line if nobody is there to be asked.
fn ask(name: &str) -> io::Result<String> {
    if !io::stdin().is_terminal() {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\n', '\r']).to_owned());
    }
    let password = rpassword::prompt_password(format!("password of {name}: "))?;
    if rpassword::prompt_password("once more: ")? != password {
        return Err(io::Error::other("these are two passwords"));
    }
    Ok(password)
}

/// Writes the file anew beside the old one and takes its place, so that a server reads the one or the other. It
/// belongs to whom the old one did, or to whom the directory does, and nobody else may read it.
fn write(path: &Path, lines: &[String]) -> Result<(), String> {
    let failed = |error: io::Error| format!("{} cannot be written: {error}", path.display());
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (owner, mode) = match std::fs::metadata(path) {
        Ok(old) => (old, None),
        Err(_) => (std::fs::metadata(parent).map_err(failed)?, Some(0o640)),
    };
    let mode = mode.unwrap_or(owner.mode() & 0o777);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).map_err(failed)?;
    let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
    let written = (|| {
        // Only root can give it away; anybody else owns it anyway.
        let _ = std::os::unix::fs::fchown(&file, Some(owner.uid()), Some(owner.gid()));
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        std::fs::File::open(parent)?.sync_all()
    })();
    written.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        failed(error)
    })
}

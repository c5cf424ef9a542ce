//! Runs programs, and says which.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The cargo that runs us, so that a `+toolchain` holds for the whole chore.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // It tells us of our own package. Passed on, that would look like a change to build scripts
    // that watch these names, and a chore would build anew what `cargo build` has built.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", shown(command));
    let status = command.status().with_context(|| format!("cannot run `{}`", shown(command)))?;
    ensure!(status.success(), "`{}` failed ({status})", shown(command));
    Ok(())
}

/// Whether a quiet question to a program is answered with success.
pub(crate) fn holds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

pub(crate) fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let in_toolchain = program.file_name().filter(|name| *name == "cargo").map(PathBuf::from);
    let words = [in_toolchain.unwrap_or(program).into_os_string()].into_iter();
    let words = words.chain(command.get_args().map(ToOwned::to_owned));
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Builds a package for release and asks cargo where its program is: a target folder, a target
/// triple, or a configuration file may each have moved it.
pub(crate) fn built_program(package: &str) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--release", "-p", package, "--message-format=json-render-diagnostics"]);
    eprintln!("$ {}", shown(&build));
    let mut build = build.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let messages = BufReader::new(build.stdout.take().context("cargo has no output")?);
    let mut program = None;
    for message in messages.lines() {
        program = executable_in(&message?, package).or(program);
    }
    let status = build.wait()?;
    ensure!(status.success(), "the build of {package} failed ({status})");
    match program {
        Some(program) => Ok(program),
        None => bail!("cargo built no program of the name {package}"),
    }
}

fn executable_in(message: &str, name: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let executable = message.get("executable")?.as_str()?;
    let of_target = message.get("target")?.get("name")?.as_str()?;
    (of_target == name).then(|| PathBuf::from(executable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_so_that_it_can_be_pasted() {
        let mut command = Command::new("/toolchain/bin/cargo");
        command.args(["test", "--workspace", "a b", "it's", "$HOME", ""]);
        assert_eq!(shown(&command), r"cargo test --workspace 'a b' 'it'\''s' '$HOME' ''");
        assert_eq!(shown(&Command::new("/opt/x/accrue")), "/opt/x/accrue");
    }

    #[test]
    fn the_program_is_read_from_the_message_of_its_own_target() {
        let message = |target: &str, executable: &str| {
            format!(r#"{{"reason":"r","target":{{"name":"{target}"}},"executable":{executable}}}"#)
        };
        let built = message("accrue", r#""/t/release/accrue""#);
        assert_eq!(executable_in(&built, "accrue"), Some(PathBuf::from("/t/release/accrue")));
        assert_eq!(executable_in(&built, "other"), None);
        assert_eq!(executable_in(&message("accrue", "null"), "accrue"), None);
        assert_eq!(executable_in("warning: not json", "accrue"), None);
    }
}

//! The programs of the broker: jars in a folder that all checkouts share, and a Java to run them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;

/// Names another folder for the jars.
const FOLDER: &str = "ACCRUE_KAFKA_JARS";

/// What is in the folder, so that another version gets another one.
const VERSION: &str = "kafka-4.3.1";

/// What tells that the folder is complete.
const BROKER: &str = "kafka_2.13-4.3.1.jar";

const POM: &str = include_str!("../pom.xml");

/// The folder with the jars.
pub fn find() -> Result<PathBuf, Error> {
    let folder = folder()?;
    if folder.join(BROKER).is_file() { Ok(folder) } else { Err(Error::NotInstalled(folder)) }
}

/// Fetches the jars with Maven, unless they are there.
pub fn install() -> Result<PathBuf, Error> {
    if let Ok(found) = find() {
        return Ok(found);
    }
    let folder = folder()?;
    let parent = folder.parent().unwrap_or(Path::new("/"));
    // Under another name first, so that a download that was cut short is never taken for complete.
    let partial = parent.join(format!("{VERSION}.partial-{}", std::process::id()));
    std::fs::create_dir_all(&partial).map_err(Error::io("cannot create", &partial))?;
    let pom = partial.join("pom.xml");
    std::fs::write(&pom, POM).map_err(Error::io("cannot write", &pom))?;
    let mut maven = Command::new("mvn");
    maven.args(["-B", "-q", "-f"]).arg(&pom).arg("dependency:copy-dependencies");
    maven.args(["-DincludeScope=runtime", "-DoutputDirectory=."]);
    let fetched = run("mvn", &mut maven);
    let moved = fetched.and_then(|()| {
        std::fs::rename(&partial, &folder).map_err(Error::io("cannot create", &folder))
    });
    if moved.is_err() {
        let _left = std::fs::remove_dir_all(&partial);
    }
    // Another process may have been faster.
    find().or_else(|missing| moved.and(Err(missing)))
}

/// The Java that `JAVA_HOME` or the search path names.
pub fn java() -> Result<PathBuf, Error> {
    let home = env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let home = home.filter(|java| java.is_file());
    let search = env::var_os("PATH").unwrap_or_default();
    let mut on_path = env::split_paths(&search).map(|it| it.join("java"));
    home.or_else(|| on_path.find(|java| java.is_file())).ok_or(Error::NoJava)
}

fn folder() -> Result<PathBuf, Error> {
    if let Some(given) = env::var_os(FOLDER) {
        return Ok(given.into());
    }
    let given = |name: &str| env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let cache = given("XDG_CACHE_HOME").or_else(|| given("HOME").map(|home| home.join(".cache")));
    Ok(cache.ok_or(Error::NoCache)?.join("accrue").join(VERSION))
}

/// Runs a program that ends by itself.
pub(crate) fn run(program: &'static str, command: &mut Command) -> Result<(), Error> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(Error::io("cannot run", Path::new(program)))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    let output = lines.into_iter().rev().collect::<Vec<_>>().join(" / ");
    Err(Error::Program { program, output })
}

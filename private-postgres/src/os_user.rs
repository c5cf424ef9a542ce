//! Who runs the cluster. Postgres refuses to run as root, so root hands it to another user.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;

const ROOT: u32 = 0;

/// Names in the order in which root tries them.
const STAND_INS: [&str; 2] = ["postgres", "nobody"];

#[derive(Debug, Clone)]
pub(crate) struct OsUser {
    pub(crate) uid: u32,
    gid: u32,
    name: String,
    /// We are root and the cluster's user is another.
    switched: bool,
}

impl OsUser {
    /// The owner of what is there already; for a new folder ourselves, or root's stand-in.
    pub(crate) fn for_cluster(data_dir: &Path, postgres_dir: &Path) -> Result<Self, Error> {
        let ourselves = id(&["-u"]).ok_or(Error::NoUser)?;
        for dir in [postgres_dir, data_dir] {
            let Ok(metadata) = std::fs::metadata(dir) else { continue };
            let (uid, gid) = (metadata.uid(), metadata.gid());
            if ourselves != ROOT && uid != ourselves {
                return Err(Error::OtherOwner { dir: dir.to_path_buf(), uid });
            }
            if uid != ROOT {
                let name = format!("with uid {uid}");
                return Ok(Self { uid, gid, name, switched: ourselves == ROOT });
            }
        }
        Self::first_stand_in().ok_or(Error::NoUser)
    }

    /// Who runs a new cluster, if we are root.
    pub(crate) fn stand_in() -> Option<Self> {
        if id(&["-u"]) == Some(ROOT) { Self::first_stand_in() } else { None }
    }

    fn first_stand_in() -> Option<Self> {
        STAND_INS.iter().find_map(|name| Self::named(name))
    }

    fn named(name: &str) -> Option<Self> {
        let (uid, gid) = (id(&["-u", name])?, id(&["-g", name])?);
        Some(Self { uid, gid, name: name.to_owned(), switched: true })
    }

    /// A program that runs as this user, away from our terminal and from stray `PG…` variables.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        // Our own folder may be closed to that user, and then the program would not even start.
        // A group of its own keeps it alive when Ctrl-C ends us.
        command.current_dir("/").stdin(Stdio::null()).process_group(0);
        if self.switched {
            // The standard library drops root's other groups with the change of user.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        if !self.switched {
            return Ok(());
        }
        chown(path, Some(self.uid), Some(self.gid))
            .map_err(Error::io("cannot change owner of", path))
    }

    /// Only root can have made what belongs to root, so it is safe to hand on.
    pub(crate) fn may_take_over(&self, owner: u32) -> bool {
        self.switched && owner == ROOT
    }

    /// Refuses a folder that this user cannot get into, and names the one that is in the way.
    pub(crate) fn check_reach(&self, dir: &Path) -> Result<(), Error> {
        if !self.switched || self.can_enter(dir) {
            return Ok(());
        }
        let mut ways: Vec<&Path> = dir.ancestors().collect();
        ways.reverse();
        let closed = ways.into_iter().find(|way| !self.can_enter(way)).unwrap_or(dir);
        Err(Error::Unreachable { user: self.name.clone(), dir: PathBuf::from(closed) })
    }

    /// Asks the system, because mode bits do not tell of access lists.
    fn can_enter(&self, dir: &Path) -> bool {
        let mut test = self.command(Path::new("/bin/sh"));
        test.args(["-c", "test -x \"$0\""]).arg(dir);
        test.status().is_ok_and(|status| status.success())
    }
}

fn id(arguments: &[&str]) -> Option<u32> {
    let run = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(run.stdout).ok()?.trim().parse().ok()
}

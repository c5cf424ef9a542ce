//! What lies where in a data folder, and whether a folder is one of ours.
//!
//! `format` (our data format), `postgres/` (the cluster), `socket/`, `postgres.log`, and two locks:
//! `start.lock` for whoever starts or stops, `users.lock` shared by all who use the cluster.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::os_user::OsUser;

pub(crate) const ROLE: &str = "accrue";
pub(crate) const DATABASE: &str = "accrue";
/// Only names the socket's file: nothing listens on the network.
pub(crate) const PORT: u16 = 5432;

/// Data format that we write, and the newest that we read.
const FORMAT: u32 = 1;

/// `sun_path` of the system, less its closing zero.
const SOCKET_PATH_BYTES_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Entered by all, listed by its owner: as root the cluster's user must get through.
const DATA_DIR_MODE: u32 = 0o711;
const PRIVATE_MODE: u32 = 0o700;

#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) data_dir: PathBuf,
}

impl Layout {
    /// Makes the folder if it is missing; refuses one that holds something else, untouched.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, Error> {
        if !data_dir.exists() {
            fs::create_dir_all(data_dir).map_err(Error::io("cannot create", data_dir))?;
            open_to_all(data_dir)?;
        }
        let data_dir = data_dir.canonicalize().map_err(Error::io("cannot open", data_dir))?;
        if data_dir.to_str().is_none() {
            return Err(Error::NotUtf8(data_dir));
        }
        let layout = Self { data_dir };
        layout.check_ours()?;
        Ok(layout)
    }

    fn check_ours(&self) -> Result<(), Error> {
        let dir = &self.data_dir;
        if self.format_file().exists() || self.start_lock().exists() {
            return Ok(());
        }
        let entries = fs::read_dir(dir).map_err(Error::io("cannot read", dir))?;
        // The root of a mounted volume is empty but for this.
        let foreign = |entry: &fs::DirEntry| entry.file_name() != "lost+found";
        if entries.flatten().any(|entry| foreign(&entry)) {
            return Err(Error::Occupied { dir: dir.clone() });
        }
        Ok(())
    }

    /// Refuses what a newer version wrote; marks a new folder. To be called under `start.lock`.
    pub(crate) fn check_format(&self) -> Result<(), Error> {
        let file = self.format_file();
        if !file.exists() {
            return fs::write(&file, format!("{FORMAT}\n"))
                .map_err(Error::io("cannot write", &file));
        }
        let content = fs::read_to_string(&file).map_err(Error::io("cannot read", &file))?;
        match content.trim().parse::<u32>() {
            Ok(found) if found <= FORMAT => Ok(()),
            Ok(found) => {
                let data_dir = self.data_dir.clone();
                Err(Error::NewerFormat { data_dir, found, known: FORMAT })
            }
            Err(_) => Err(Error::BadFormat { file, content }),
        }
    }

    /// Major version that made the cluster; `None` before there is one.
    pub(crate) fn made_by(&self) -> Option<String> {
        let version = fs::read_to_string(self.postgres_dir().join("PG_VERSION")).ok()?;
        Some(version.trim().to_owned())
    }

    /// `socket/`, or where that path is too long for a socket, a folder under `temp_dir`.
    pub(crate) fn socket_dir(&self, temp_dir: &Path) -> PathBuf {
        let beside = self.data_dir.join("socket");
        if fits(&beside) {
            return beside;
        }
        let name = format!("accrue-{:016x}", fnv_1a(self.data_dir.as_os_str().as_encoded_bytes()));
        let short = temp_dir.join(&name);
        if fits(&short) { short } else { Path::new("/tmp").join(name) }
    }

    pub(crate) fn postgres_dir(&self) -> PathBuf {
        self.data_dir.join("postgres")
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.data_dir.join("postgres.log")
    }

    pub(crate) fn start_lock(&self) -> PathBuf {
        self.data_dir.join("start.lock")
    }

    pub(crate) fn users_lock(&self) -> PathBuf {
        self.data_dir.join("users.lock")
    }

    fn format_file(&self) -> PathBuf {
        self.data_dir.join("format")
    }
}

/// Lets everybody through, whatever our own mask leaves to others.
pub(crate) fn open_to_all(dir: &Path) -> Result<(), Error> {
    fs::set_permissions(dir, fs::Permissions::from_mode(DATA_DIR_MODE))
        .map_err(Error::io("cannot set the mode of", dir))
}

/// A folder that only `user` (and root) can enter.
///
/// One that is there already must be that user's own: under a shared temporary folder anybody could
/// have put one in its place.
pub(crate) fn private_dir(dir: &Path, user: &OsUser) -> Result<(), Error> {
    match DirBuilder::new().mode(PRIVATE_MODE).create(dir) {
        Ok(()) => return user.own(dir),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io("cannot create", dir)(error)),
    }
    let metadata = fs::symlink_metadata(dir).map_err(Error::io("cannot open", dir))?;
    if metadata.is_dir() && user.may_take_over(metadata.uid()) {
        // Made by us, but the change of owner was cut short.
        user.own(dir)?;
    } else if !metadata.is_dir() || metadata.uid() != user.uid {
        return Err(Error::OtherOwner { dir: dir.to_path_buf(), uid: metadata.uid() });
    }
    Ok(())
}

pub(crate) fn socket_file(socket_dir: &Path) -> PathBuf {
    socket_dir.join(format!(".s.PGSQL.{PORT}"))
}

/// Names the postmaster that listens on the socket, in the form of `postmaster.pid`.
pub(crate) fn socket_lock(socket_dir: &Path) -> PathBuf {
    socket_file(socket_dir).with_added_extension("lock")
}

fn fits(socket_dir: &Path) -> bool {
    socket_file(socket_dir).as_os_str().len() <= SOCKET_PATH_BYTES_MAX
}

/// The name must be the same in every process and release, which std's hasher does not promise.
pub(crate) fn fnv_1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(data_dir: String) -> Layout {
        Layout { data_dir: PathBuf::from(data_dir) }
    }

    #[test]
    fn the_socket_stays_beside_the_data_up_to_the_last_byte_that_the_system_allows() {
        let longest = SOCKET_PATH_BYTES_MAX - "/socket/.s.PGSQL.5432".len();
        let fitting = at(format!("/{}", "d".repeat(longest - 1)));
        let too_long = at(format!("/{}", "d".repeat(longest)));
        assert_eq!(fitting.socket_dir(Path::new("/tmp")), fitting.data_dir.join("socket"));
        assert!(too_long.socket_dir(Path::new("/tmp")).starts_with("/tmp"));
    }

    #[test]
    fn a_moved_socket_has_a_name_of_its_own_for_each_folder_and_survives_a_long_temp_dir() {
        let (one, other) =
            (at(format!("/{}", "a".repeat(200))), at(format!("/{}", "b".repeat(200))));
        let tmp = Path::new("/tmp");
        assert_ne!(one.socket_dir(tmp), other.socket_dir(tmp));
        let long = PathBuf::from(format!("/{}", "t".repeat(200)));
        assert_eq!(one.socket_dir(&long), one.socket_dir(tmp));
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv_1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}

//! A place for a data folder that nobody but root can get to, as below root's own home: Postgres does
//! not run as root.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::layout::{fnv_1a, open_to_all};
use crate::os_user::OsUser;

/// Makes a folder below `base` and a link to it at `data_dir`, where that is still to be made and the
/// user that stands in for root could not get to it. What is there already is left as it is.
pub(crate) fn link(data_dir: &Path, base: &Path) -> Result<(), Error> {
    // First, since it is nearly always so, and to know who we are takes a program.
    if data_dir.exists() {
        return Ok(());
    }
    let Some(user) = OsUser::stand_in() else { return Ok(()) };
    // One of ours whose folder is gone leads nowhere.
    if fs::read_link(data_dir).is_ok_and(|folder| folder.starts_with(base) && !folder.exists()) {
        fs::remove_file(data_dir).map_err(Error::io("cannot remove", data_dir))?;
    }
    if fs::symlink_metadata(data_dir).is_ok() {
        return Ok(());
    }
    let absolute = std::path::absolute(data_dir).map_err(Error::io("cannot open", data_dir))?;
    let made_in = absolute.ancestors().skip(1).find(|dir| dir.exists());
    if made_in.is_none_or(|dir| user.check_reach(dir).is_ok()) {
        return Ok(());
    }
    if !base.exists() {
        fs::create_dir_all(base).map_err(Error::io("cannot create", base))?;
        open_to_all(base)?;
    }
    let folder = new_folder(base, &absolute)?;
    let linked = open_to_all(&folder).and_then(|()| user.check_reach(&folder)).and_then(|()| {
        match symlink(&folder, data_dir) {
            Ok(()) => Ok(true),
            // Somebody else was faster, and we join him.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(Error::io("cannot create", data_dir)(error)),
        }
    });
    if !matches!(linked, Ok(true)) {
        let _removed = fs::remove_dir(&folder);
    }
    linked.map(|_| ())
}

/// A folder of its own each time: whoever has removed the link begins anew, and nothing is overwritten.
fn new_folder(base: &Path, data_dir: &Path) -> Result<PathBuf, Error> {
    let name = format!("{:016x}", fnv_1a(data_dir.as_os_str().as_encoded_bytes()));
    let mut folder = base.join(&name);
    let mut count = 1;
    loop {
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                count += 1;
                folder = base.join(format!("{name}-{count}"));
            }
            Err(error) => return Err(Error::io("cannot create", &folder)(error)),
        }
    }
}

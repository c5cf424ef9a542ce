//! A place for a data folder that nobody but root can get to, as below root's own home: Postgres does
//! not run as root.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::layout::{DATA_DIR_MODE, fnv_1a};
use crate::os_user::OsUser;

/// Makes a folder below `base` and a link to it at `data_dir`, where that is still to be made and the
/// user that stands in for root could not get to it. What is there already is left as it is.
pub(crate) fn link(data_dir: &Path, base: &Path) -> Result<(), Error> {
    let Some(user) = OsUser::stand_in() else { return Ok(()) };
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
        // Whatever root leaves to others otherwise.
        fs::set_permissions(base, fs::Permissions::from_mode(DATA_DIR_MODE))
            .map_err(Error::io("cannot set the mode of", base))?;
    }
    let folder = new_folder(base, &absolute)?;
    match symlink(&folder, data_dir) {
        Ok(()) => Ok(()),
        Err(error) => {
            let _removed = fs::remove_dir(&folder);
            // Somebody else was faster, and we join him.
            if error.kind() == ErrorKind::AlreadyExists {
                Ok(())
            } else {
                Err(Error::io("cannot create", data_dir)(error))
            }
        }
    }
}

/// A folder of its own each time: whoever has removed the link begins anew, and nothing is overwritten.
fn new_folder(base: &Path, data_dir: &Path) -> Result<PathBuf, Error> {
    let name = format!("{:016x}", fnv_1a(data_dir.as_os_str().as_encoded_bytes()));
    let mut folder = base.join(&name);
    let mut count = 1;
    loop {
        match DirBuilder::new().mode(DATA_DIR_MODE).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                count += 1;
                folder = base.join(format!("{name}-{count}"));
            }
            Err(error) => return Err(Error::io("cannot create", &folder)(error)),
        }
    }
}

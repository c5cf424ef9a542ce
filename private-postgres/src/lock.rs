//! Locks between processes. The system lets go of them when a process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::Error;

const POLL: Duration = Duration::from_millis(20);

pub(crate) fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(Error::io("cannot open", path))
}

/// Waits for its turn, but not for ever: the holder may hang.
pub(crate) async fn exclusive(path: &Path, deadline: Instant) -> Result<File, Error> {
    let file = open(path)?;
    while !try_exclusive(&file, path)? {
        if Instant::now() >= deadline {
            return Err(Error::Locked(path.to_path_buf()));
        }
        sleep(POLL).await;
    }
    Ok(file)
}

pub(crate) fn try_exclusive(file: &File, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(Error::io("cannot lock", path)(source)),
    }
}

/// Says that we use the cluster, for as long as the file stays open.
///
/// The exclusive lock on it is only ever held for an instant, and under `start.lock`.
pub(crate) fn shared(path: &Path) -> Result<File, Error> {
    let file = open(path)?;
    file.lock_shared().map_err(Error::io("cannot lock", path))?;
    Ok(file)
}

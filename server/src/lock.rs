//! One server a data folder: the second is told who has it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

const NAME: &str = "server.lock";

/// Held while the server lives; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct ServerLock(File);

impl ServerLock {
    /// Takes the folder.
    pub(crate) fn take(data_dir: &Path, url: &str) -> Result<Self> {
        let path = data_dir.join(NAME);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _unread = file.read_to_string(&mut holder);
                bail!(
                    "{} is in use by another server ({}): use that one, or another folder with \
                     --data-dir",
                    data_dir.display(),
                    holder.trim()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{url}, process {}", std::process::id())?;
        Ok(Self(file))
    }
}

impl Drop for ServerLock {
    fn drop(&mut self) {
        // The file stays: to remove it would let two servers lock two files of one name.
        let _emptied = self.0.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_server_at_a_time_and_the_second_hears_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = ServerLock::take(dir.path(), "http://127.0.0.1:1").unwrap();
        let refusal = ServerLock::take(dir.path(), "http://127.0.0.1:2").unwrap_err().to_string();
        assert!(refusal.contains("in use by another server (http://127.0.0.1:1, process "));
        drop(first);
        assert!(ServerLock::take(dir.path(), "http://127.0.0.1:2").is_ok());
    }
}

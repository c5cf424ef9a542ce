//! A cluster for tests: made in a temporary folder, gone with the process that made it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use crate::cluster::Cluster;
use crate::error::Error;
use crate::options::Options;

/// Waits on a pipe that closes when we end, also by a kill, then stops the cluster and removes it.
///
/// `$0` is the folder. The pid is read at the end: the postmaster may have been restarted. QUIT is
/// the immediate stop, which is right for data that goes away.
const CLEAN_UP: &str = r#"
cat >/dev/null
pid=$(head -n 1 "$0/postgres/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
tries=0
while kill -0 "$pid" 2>/dev/null && [ -e "$0/postgres/postmaster.pid" ] && [ $tries -lt 100 ]; do tries=$((tries+1)); sleep 0.1; done
rm -rf "$0"
"#;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The process that cleans up behind us.
#[derive(Debug)]
pub(crate) struct Janitor(Child);

impl Cluster {
    /// A new cluster under the temporary folder. It is stopped and removed when the returned value
    /// is dropped, or, where it never is (a `static`), when the process ends, however it ends.
    pub async fn scratch(options: Options) -> Result<Self, Error> {
        Self::scratch_from(None, options).await
    }

    /// A standby of this cluster, known to it by that name, in a temporary folder as with
    /// [`Cluster::scratch`]. Promoted, it is a cluster of its own.
    pub async fn scratch_standby(&self, name: &str, options: Options) -> Result<Self, Error> {
        Self::scratch_from(Some((self, name)), options).await
    }

    async fn scratch_from(source: Option<(&Self, &str)>, options: Options) -> Result<Self, Error> {
        let dir = new_dir();
        std::fs::create_dir(&dir).map_err(Error::io("cannot create", &dir))?;
        // The folder is entered by the cluster's user, whatever our umask says.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&dir, mode).map_err(Error::io("cannot set the mode of", &dir))?;
        let janitor = Janitor::hire(&dir)?;
        let mut cluster = Self::start_from(source, &dir, options).await?;
        cluster.janitor = Some(janitor);
        Ok(cluster)
    }
}

impl Janitor {
    fn hire(dir: &Path) -> Result<Self, Error> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", CLEAN_UP]).arg(dir).process_group(0).current_dir("/");
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.spawn().map(Self).map_err(Error::io("cannot run", Path::new("/bin/sh")))
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Nothing to do about a janitor that cannot be waited for: the folder is a temporary one.
        let _ended = self.0.wait();
    }
}

fn new_dir() -> PathBuf {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("accrue-test-{}-{count}-{:x}", std::process::id(), now.subsec_nanos());
    std::env::temp_dir().join(name)
}

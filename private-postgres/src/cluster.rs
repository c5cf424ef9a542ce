//! The cluster as its users see it: a URL, and a life that does not depend on who started it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::binaries;
use crate::elsewhere;
use crate::error::Error;
use crate::layout::{DATABASE, Layout, PORT, ROLE};
use crate::lock;
use crate::options::Options;
use crate::os_user::OsUser;
use crate::postmaster::Postmaster;
use crate::probe::{self, Answer};
use crate::scratch::Janitor;

const POLL: Duration = Duration::from_millis(25);

/// Lines of the log after which another try may succeed: what a crash left is still going away.
const PASSING: [&str; 2] =
    ["pre-existing shared memory block", "lock file \"postmaster.pid\" already exists"];

/// How the postmaster is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Ends the connections, writes a checkpoint.
    Fast,
    /// As a power cut would: the next start recovers.
    Immediate,
}

/// What [`Cluster::ensure_running`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Running,
    Restarted,
}

/// What [`Cluster::release`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    Stopped,
    /// Another process uses the cluster, so it runs on.
    LeftToOthers,
}

/// A running private cluster. Dropping it leaves the postmaster running: see [`Cluster::release`].
#[derive(Debug)]
pub struct Cluster {
    postmaster: Postmaster,
    socket_dir: PathBuf,
    owned: AtomicBool,
    /// The postmaster, while it is our child: asked after, so that it does not stay a zombie.
    child: Mutex<Option<Child>>,
    /// Our share in `users.lock`.
    _use: File,
    pub(crate) janitor: Option<Janitor>,
}

impl Cluster {
    /// Makes the cluster if there is none, starts it if it does not run, else joins it.
    pub async fn start(data_dir: &Path, options: Options) -> Result<Self, Error> {
        Self::start_from(None, data_dir, options).await
    }

    /// As [`Cluster::start`]; one that is made is a copy of `source` (and has that name there),
    /// and replays what that one writes until it is promoted.
    pub(crate) async fn start_from(
        source: Option<(&Self, &str)>,
        data_dir: &Path,
        options: Options,
    ) -> Result<Self, Error> {
        let deadline = Instant::now() + options.start_wait_max;
        if let Some(base) = &options.elsewhere {
            elsewhere::link(data_dir, base)?;
        }
        let layout = Layout::open(data_dir)?;
        let user = OsUser::for_cluster(&layout.data_dir, &layout.postgres_dir())?;
        let _turn = lock::exclusive(&layout.start_lock(), deadline).await?;
        layout.check_format()?;
        user.check_reach(&layout.data_dir)?;
        let made_by = layout.made_by();
        let bin_dir = options.bin_dir.as_deref();
        let binaries = binaries::find_for(&layout.data_dir, made_by.as_deref(), bin_dir)?;
        let postmaster = Postmaster { layout, user, binaries, options };
        match (made_by, source) {
            (Some(_), _) => {}
            (None, None) => postmaster.make_cluster().await?,
            (None, Some((source, name))) => {
                postmaster.copy_cluster(&source.socket_dir, name).await?;
            }
        }
        Self::join_or_start(postmaster, deadline).await
    }

    async fn join_or_start(postmaster: Postmaster, deadline: Instant) -> Result<Self, Error> {
        // One that was started under another temporary folder may listen there. What a dead one
        // left is not to be trusted: the data folder may have been moved since.
        let running = postmaster.pid_file().filter(|file| postmaster.runs(file.pid));
        let running = running.and_then(|file| file.socket_dir);
        let fallback = || postmaster.layout.socket_dir(&std::env::temp_dir());
        let cluster = Self {
            socket_dir: running.unwrap_or_else(fallback),
            owned: AtomicBool::new(false),
            child: Mutex::new(None),
            _use: lock::shared(&postmaster.layout.users_lock())?,
            janitor: None,
            postmaster,
        };
        cluster.bring_up(deadline).await?;
        Ok(cluster)
    }

    /// URL of our database, for any client that takes `host` as a parameter.
    pub fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// URL of another database of this cluster.
    pub fn url_of(&self, database: &str) -> String {
        let socket_dir = percent_encoded(&self.socket_dir.to_string_lossy());
        let database = percent_encoded(database);
        // The port is said because clients otherwise take it from the environment.
        format!("postgres://{ROLE}@localhost:{PORT}/{database}?host={socket_dir}&sslmode=disable")
    }

    pub fn data_dir(&self) -> &Path {
        &self.postmaster.layout.data_dir
    }

    pub fn log_file(&self) -> PathBuf {
        self.postmaster.layout.log_file()
    }

    /// Major version of the Postgres that runs the cluster.
    pub fn major(&self) -> u32 {
        self.postmaster.binaries.major
    }

    /// Process number of the postmaster, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.postmaster.pid_file().map(|file| file.pid).filter(|pid| self.postmaster.runs(*pid))
    }

    /// Whether this process started the postmaster, and did not find it running.
    pub fn owned(&self) -> bool {
        self.owned.load(Ordering::Acquire)
    }

    /// Whether the cluster takes connections now.
    pub async fn is_alive(&self) -> bool {
        matches!(probe::knock(&self.socket_dir).await, Answer::Ready | Answer::NoDatabase)
    }

    /// Starts the postmaster again if it died; waits while it recovers. For when connections fail.
    pub async fn ensure_running(&self) -> Result<Found, Error> {
        if self.is_alive().await {
            return Ok(Found::Running);
        }
        let deadline = Instant::now() + self.postmaster.options.start_wait_max;
        let _turn = lock::exclusive(&self.postmaster.layout.start_lock(), deadline).await?;
        self.bring_up(deadline).await
    }

    /// Stops the cluster for everybody.
    pub async fn stop(&self, mode: Mode) -> Result<(), Error> {
        let deadline = Instant::now() + self.postmaster.options.start_wait_max;
        let _turn = lock::exclusive(&self.postmaster.layout.start_lock(), deadline).await?;
        self.shut_down(mode).await
    }

    /// Ends the postmaster without warning, if it is our child; what it has started ends by itself.
    pub async fn kill(&self) -> Result<(), Error> {
        let Some(mut child) = self.child.lock().await.take() else { return Ok(()) };
        let program = self.postmaster.binaries.program("postgres");
        let killed = child.kill().and_then(|()| child.wait());
        killed.map(|_| ()).map_err(Error::io("cannot end", &program))
    }

    /// Stops the cluster unless another process uses it too: the last one turns off the light.
    pub async fn release(self) -> Result<Released, Error> {
        let layout = self.postmaster.layout.clone();
        let deadline = Instant::now() + self.postmaster.options.start_wait_max;
        let _turn = lock::exclusive(&layout.start_lock(), deadline).await?;
        // On the very file that holds our share: it becomes exclusive only if ours is the last.
        if !lock::try_exclusive(&self._use, &layout.users_lock())? {
            return Ok(Released::LeftToOthers);
        }
        self.shut_down(Mode::Fast).await?;
        Ok(Released::Stopped)
    }

    async fn shut_down(&self, mode: Mode) -> Result<(), Error> {
        let mode = match mode {
            Mode::Fast => "fast",
            Mode::Immediate => "immediate",
        };
        if self.pid().is_some() {
            self.postmaster.stop(mode).await?;
        }
        if !self.socket_dir.starts_with(self.data_dir()) {
            // Empty by now; if it is not, somebody else's file is no reason to fail a stop.
            let _removed = std::fs::remove_dir(&self.socket_dir);
        }
        let Some(mut child) = self.child.lock().await.take() else { return Ok(()) };
        let program = self.postmaster.binaries.program("postgres");
        // It has removed its pid file, so the wait for the rest of its exit is short.
        child.wait().map(|_| ()).map_err(Error::io("cannot wait for", &program))
    }

    /// Waits until the cluster takes connections, and starts it where nobody else does.
    async fn bring_up(&self, deadline: Instant) -> Result<Found, Error> {
        let (began, log_start) = (Instant::now(), self.postmaster.log_length());
        let mut child = self.child.lock().await;
        let mut found = Found::Running;
        loop {
            match probe::knock(&self.socket_dir).await {
                Answer::Ready => return Ok(found),
                Answer::NoDatabase => {
                    self.postmaster.create_database(&self.socket_dir).await?;
                    return Ok(found);
                }
                Answer::NotYet => {}
                Answer::Silent if self.pid().is_some() => {}
                Answer::Silent => {
                    let spawned_here = found == Found::Restarted;
                    if self.is_to_be_spawned(&mut child, spawned_here.then_some(log_start))? {
                        *child = Some(self.postmaster.spawn(&self.socket_dir).await?);
                        self.owned.store(true, Ordering::Release);
                        found = Found::Restarted;
                    }
                }
            }
            if Instant::now() >= deadline {
                let last_line = self.postmaster.last_log_line(log_start);
                let waited_seconds = began.elapsed().as_secs();
                return Err(Error::NotReady { waited_seconds, last_line, log: self.log_file() });
            }
            sleep(POLL).await;
        }
    }

    /// Nobody answers: is there no postmaster at all, or has ours just not come so far?
    ///
    /// `log_start` is where the log of this attempt begins; one that ended in an earlier life has
    /// nothing to tell us.
    fn is_to_be_spawned(
        &self,
        child: &mut Option<Child>,
        log_start: Option<u64>,
    ) -> Result<bool, Error> {
        let Some(running) = child else { return Ok(true) };
        let program = self.postmaster.binaries.program("postgres");
        let ended = running.try_wait().map_err(Error::io("cannot wait for", &program))?;
        let Some(status) = ended else { return Ok(false) };
        *child = None;
        let Some(log_start) = log_start else { return Ok(true) };
        let last_line = self.postmaster.last_log_line(log_start);
        if status.success() || PASSING.iter().any(|passing| last_line.contains(passing)) {
            return Ok(true);
        }
        Err(Error::NotStarted { last_line, log: self.log_file() })
    }
}

/// Everything but what a URL never gives a meaning to.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.as_bytes().iter().fold(String::new(), |mut url, byte| {
        if plain(byte) {
            url.push(char::from(*byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
        url
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_url_keeps_no_sign_that_a_url_would_read() {
        assert_eq!(percent_encoded("/a b/ü&x=1?#%"), "%2Fa%20b%2F%C3%BC%26x%3D1%3F%23%25");
        assert_eq!(percent_encoded("a-Z_0.9~"), "a-Z_0.9~");
    }
}

//! One broker: made, started, stopped, killed, started again with what it had.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::error::Error;
use crate::janitor::Janitor;
use crate::layout::{Layout, write};
use crate::programs;

const POLL: Duration = Duration::from_millis(50);

/// The line with which the broker says that it has started.
const STARTED: &str = "Kafka startTimeMs";

/// How long a broker may take to stop when it is asked to.
const STOP_MAX: Duration = Duration::from_secs(60);

/// Where ports are looked for, and among how many.
const PORT_FIRST: u16 = 20_000;
const PORTS: u32 = 12_000;

/// Flags of the Java machine for one that does not live long: little compiling, one collecting thread.
const BRIEF: &[&str] = &["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// Flags for one that does, which Kafka's operations guide recommends together with a heap of 6 GB (under
/// "Java Version").
const LONG: &[&str] = &[
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:G1HeapRegionSize=16M",
    "-XX:MetaspaceSize=96m",
    "-XX:MinMetaspaceFreeRatio=50",
    "-XX:MaxMetaspaceFreeRatio=80",
    "-XX:+ExplicitGCInvokesConcurrent",
];

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What may differ from one broker to another.
#[derive(Debug, Clone)]
pub struct Options {
    pub heap_mb: u32,
    /// Compile little, for one that does not live long.
    pub brief: bool,
    /// Bound of a start, recovery included.
    pub start_wait_max: Duration,
    /// Further settings by their names in `server.properties`; they win over ours.
    pub settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heap_mb: 6144,
            brief: false,
            start_wait_max: Duration::from_secs(120),
            settings: Vec::new(),
        }
    }
}

impl Options {
    /// For tests.
    pub fn small() -> Self {
        Self { heap_mb: 256, brief: true, ..Self::default() }
    }
}

/// A broker in a temporary folder. It is killed and its folder removed when this is dropped, or,
/// where it never is (a `static`), when the process ends, however it ends.
#[derive(Debug)]
pub struct Broker {
    layout: Layout,
    port: u16,
    options: Options,
    child: Mutex<Option<Child>>,
    _janitor: Janitor,
}

impl Broker {
    /// A new broker without topics, that answers.
    pub async fn scratch(options: Options) -> Result<Self, Error> {
        let (jars, java) = (programs::find()?, programs::java()?);
        let layout = Layout { dir: new_dir() };
        std::fs::create_dir(&layout.dir).map_err(Error::io("cannot create", &layout.dir))?;
        let janitor = Janitor::hire(&layout.dir)?;
        let (port, control) = free_ports()?;
        layout.write(port, control, &options.settings)?;
        let mut format = tool(&java, &jars, &layout, 128, true);
        format.args(["kafka.tools.StorageTool", "format", "-t", Layout::cluster(), "-c"]);
        let settings = layout.settings();
        detached(move || programs::run("kafka-storage format", format.arg(settings))).await?;
        let broker = Self { layout, port, options, child: Mutex::new(None), _janitor: janitor };
        broker.start().await?;
        Ok(broker)
    }

    /// `host:port` for clients; the same for as long as the broker lives, and lives again.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The folder of its topics, a folder each partition.
    pub fn data_dir(&self) -> PathBuf {
        self.layout.data()
    }

    /// Its process number, while it runs.
    pub async fn pid(&self) -> Option<u32> {
        self.child.lock().await.as_ref().map(Child::id)
    }

    /// Starts it, unless it runs, and waits until it answers.
    pub async fn start(&self) -> Result<(), Error> {
        let mut child = self.child.lock().await;
        if child.is_some() {
            return Ok(());
        }
        let (jars, java) = (programs::find()?, programs::java()?);
        let log = self.layout.log();
        let output = File::create(&log).map_err(Error::io("cannot create", &log))?;
        let copy = output.try_clone().map_err(Error::io("cannot open", &log))?;
        let mut broker = tool(&java, &jars, &self.layout, self.options.heap_mb, self.options.brief);
        broker.arg("kafka.Kafka").arg(self.layout.settings());
        // A group of its own, so that Ctrl-C ends us and not it.
        broker.stdin(Stdio::null()).stdout(output).stderr(copy).process_group(0);
        let running = broker.spawn().map_err(Error::io("cannot run", &java))?;
        write(&self.layout.pid(), &running.id().to_string())?;
        let running = child.insert(running);
        let began = Instant::now();
        loop {
            if let Some(status) = running.try_wait().map_err(Error::io("cannot wait for", &java))? {
                let last_lines = format!("{status}: {}", last_lines(&log));
                *child = None;
                return Err(Error::NotStarted { last_lines, log });
            }
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let open = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
            if open && said.contains(STARTED) {
                return Ok(());
            }
            if began.elapsed() > self.options.start_wait_max {
                let waited_seconds = began.elapsed().as_secs();
                let last_lines = last_lines(&log);
                return Err(Error::NotReady { waited_seconds, last_lines, log });
            }
            sleep(POLL).await;
        }
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(&self) -> Result<(), Error> {
        let mut child = self.child.lock().await;
        let Some(mut running) = child.take() else { return Ok(()) };
        programs::run("kill", Command::new("kill").arg("-TERM").arg(running.id().to_string()))?;
        let began = Instant::now();
        while running.try_wait().map_err(Error::io("cannot wait for", Path::new("java")))?.is_none()
        {
            if began.elapsed() > STOP_MAX {
                return end(running);
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Bounds what each producer may send, in bytes per second; 0 lets them go as fast as they can.
    pub async fn bound_producers(&self, bytes_per_second: u32) -> Result<(), Error> {
        let (jars, java) = (programs::find()?, programs::java()?);
        let mut configs = tool(&java, &jars, &self.layout, 128, true);
        configs.args(["kafka.admin.ConfigCommand", "--bootstrap-server", &self.bootstrap()]);
        configs.args(["--alter", "--entity-type", "clients", "--entity-default"]);
        match bytes_per_second {
            0 => configs.args(["--delete-config", "producer_byte_rate"]),
            rate => configs.arg("--add-config").arg(format!("producer_byte_rate={rate}")),
        };
        detached(move || programs::run("kafka-configs", &mut configs)).await
    }

    /// From here on no file of it takes another byte, as where its disk has no room: it ends itself.
    /// One that is started again has room.
    pub async fn take_its_room(&self) -> Result<(), Error> {
        let Some(pid) = self.pid().await else { return Ok(()) };
        let mut limit = Command::new("prlimit");
        limit.args(["--pid", &pid.to_string(), "--fsize=0:"]);
        programs::run("prlimit", &mut limit)
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&self) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            let mut child = self.child.lock().await;
            let Some(running) = child.as_mut() else { return Ok(()) };
            if running
                .try_wait()
                .map_err(Error::io("cannot wait for", Path::new("java")))?
                .is_some()
            {
                *child = None;
                return Ok(());
            }
            drop(child);
            if began.elapsed() > STOP_MAX {
                let log = self.layout.log();
                return Err(Error::NotEnded { last_lines: last_lines(&log), log });
            }
            sleep(POLL).await;
        }
    }

    /// Ends it without warning.
    pub async fn kill(&self) -> Result<(), Error> {
        match self.child.lock().await.take() {
            Some(running) => end(running),
            None => Ok(()),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(running) = self.child.get_mut().take() {
            let _ended = end(running);
        }
    }
}

/// Does what blocks on a thread that may.
async fn detached(work: impl FnOnce() -> Result<(), Error> + Send + 'static) -> Result<(), Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

fn end(mut running: Child) -> Result<(), Error> {
    let java = Path::new("java");
    running.kill().map_err(Error::io("cannot end", java))?;
    running.wait().map(|_| ()).map_err(Error::io("cannot wait for", java))
}

fn tool(java: &Path, jars: &Path, layout: &Layout, heap_mb: u32, brief: bool) -> Command {
    let mut tool = Command::new(java);
    tool.arg(format!("-Xms{heap_mb}m")).arg(format!("-Xmx{heap_mb}m"));
    tool.args(["-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"]);
    tool.args(if brief { BRIEF } else { LONG });
    tool.arg(format!("-Dlog4j2.configurationFile={}", layout.logging().display()));
    tool.arg("-cp").arg(jars.join("*")).current_dir(&layout.dir);
    tool
}

/// Two ports that were free an instant ago. Not such as the system gives to connections: while a
/// broker is down, one of its clients' would get its port sooner or later, and keep it.
fn free_ports() -> Result<(u16, u16), Error> {
    let spread = std::process::id().wrapping_mul(31) + COUNT.fetch_add(1, Ordering::Relaxed) * 2;
    let mut taken = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    for at in 0..PORTS / 2 {
        let port = PORT_FIRST + u16::try_from((spread + at * 2) % PORTS).unwrap_or_default();
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        match bind(port).and_then(|_one| bind(port + 1)) {
            Ok(_) => return Ok((port, port + 1)),
            Err(error) => taken = error,
        }
    }
    Err(Error::io("cannot find a free port on", Path::new("127.0.0.1"))(taken))
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

fn new_dir() -> PathBuf {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("accrue-kafka-{}-{count}-{:x}", std::process::id(), now.subsec_nanos());
    std::env::temp_dir().join(name)
}

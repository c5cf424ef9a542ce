//! A real cluster in a temporary folder: what survives, what is refused, and in which words.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use accrue_private_postgres::binaries;
use accrue_private_postgres::cluster::{Cluster, Found, Mode, Released};
use accrue_private_postgres::error::Error;
use accrue_private_postgres::options::Options;

/// A folder that every OS user can enter; removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("accrue-test-folder-{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    /// The data folder: not there yet.
    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// A folder in it that only its owner can enter.
    fn closed(&self) -> PathBuf {
        let closed = self.0.join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        closed
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test that failed has left its postmaster behind.
        if let Some(pid) = pid_in(&self.data()) {
            kill("QUIT", pid);
        }
        let _removed = fs::remove_dir_all(&self.0);
    }
}

fn pid_in(data_dir: &Path) -> Option<u32> {
    let content = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    content.lines().next()?.parse().ok()
}

fn kill(signal: &str, pid: u32) {
    Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap();
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().unwrap().stdout.trim_ascii() == b"0"
}

async fn start(data_dir: &Path) -> Cluster {
    Cluster::start(data_dir, Options::small()).await.unwrap()
}

async fn refused(data_dir: &Path) -> String {
    Cluster::start(data_dir, Options::small()).await.unwrap_err().to_string()
}

fn psql(url: &str, sql: &str) -> Output {
    let psql = binaries::find().unwrap().bin_dir.join("psql");
    Command::new(psql).args(["-XAtq", url, "-c", sql]).env("PGPORT", "1").output().unwrap()
}

fn ask(cluster: &Cluster, sql: &str) -> String {
    let output = psql(&cluster.url(), sql);
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(30), "waited too long: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_new_folder_becomes_a_durable_cluster_that_only_its_user_can_reach() {
    let folder = Folder::new();
    let cluster = start(&folder.data()).await;

    assert!(cluster.owned());
    assert!(cluster.is_alive().await);
    let settings = ask(
        &cluster,
        "SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN
         ('data_checksums', 'fsync', 'full_page_writes', 'jit', 'listen_addresses', 'server_encoding',
          'synchronous_commit')",
    );
    assert_eq!(
        settings,
        "data_checksums=on fsync=on full_page_writes=on jit=off listen_addresses= \
         server_encoding=UTF8 synchronous_commit=on"
    );
    let collation = "SELECT datcollate FROM pg_database WHERE datname = current_database()";
    assert_eq!(ask(&cluster, collation), "C");
    assert_eq!(ask(&cluster, "SELECT current_database(), current_user"), "accrue|accrue");
    for private in ["socket", "postgres"] {
        let mode = fs::metadata(folder.data().join(private)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{private}");
    }
    assert_eq!(fs::read_to_string(folder.data().join("format")).unwrap(), "1\n");

    assert_eq!(cluster.release().await.unwrap(), Released::Stopped);
    assert_eq!(pid_in(&folder.data()), None);
}

#[tokio::test]
async fn data_survives_a_stop_and_an_immediate_stop() {
    let folder = Folder::new();
    let cluster = start(&folder.data()).await;
    ask(&cluster, "CREATE TABLE kept AS SELECT 1 AS n");
    cluster.stop(Mode::Fast).await.unwrap();
    assert!(!cluster.is_alive().await);

    let cluster = start(&folder.data()).await;
    ask(&cluster, "INSERT INTO kept VALUES (2)");
    cluster.stop(Mode::Immediate).await.unwrap();
    assert_eq!(cluster.ensure_running().await.unwrap(), Found::Restarted);
    assert_eq!(ask(&cluster, "SELECT sum(n) FROM kept"), "3");
    cluster.stop(Mode::Fast).await.unwrap();
    cluster.stop(Mode::Fast).await.unwrap(); // stopping what is stopped is no error
}

#[tokio::test]
async fn a_running_cluster_is_joined_and_the_last_user_stops_it() {
    let folder = Folder::new();
    let first = start(&folder.data()).await;
    let pid = first.pid();
    assert!(pid.is_some());

    let visitor = start(&folder.data()).await;
    assert!(!visitor.owned());
    assert_eq!((visitor.pid(), visitor.url()), (pid, first.url()));

    assert_eq!(first.release().await.unwrap(), Released::LeftToOthers);
    assert!(visitor.is_alive().await);
    assert_eq!(visitor.release().await.unwrap(), Released::Stopped);
    assert_eq!(pid_in(&folder.data()), None);
}

#[tokio::test]
async fn a_dropped_cluster_runs_on_and_is_found_again() {
    let folder = Folder::new();
    let first = start(&folder.data()).await;
    let pid = first.pid();
    drop(first);

    let second = start(&folder.data()).await;
    assert_eq!((second.pid(), second.owned()), (pid, false));
    second.release().await.unwrap();
}

#[tokio::test]
async fn four_starts_at_once_make_one_cluster() {
    let folder = Folder::new();
    let data = folder.data();
    let (a, b, c, d) = tokio::join!(start(&data), start(&data), start(&data), start(&data));
    let all = [a, b, c, d];

    assert_eq!(all.iter().filter(|cluster| cluster.owned()).count(), 1);
    assert!(all.iter().all(|cluster| cluster.pid() == pid_in(&data)));
    all[0].stop(Mode::Fast).await.unwrap();
}

#[tokio::test]
async fn a_postmaster_that_is_killed_is_started_again_with_its_data() {
    let folder = Folder::new();
    let cluster = start(&folder.data()).await;
    ask(&cluster, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n");
    let killed = cluster.pid().unwrap();
    kill("KILL", killed);
    until("the postmaster is gone", || async { !cluster.is_alive().await }).await;

    assert_eq!(cluster.ensure_running().await.unwrap(), Found::Restarted);
    assert_ne!(cluster.pid(), Some(killed));
    assert_eq!(ask(&cluster, "SELECT count(*) FROM kept"), "1000");
    assert_eq!(cluster.ensure_running().await.unwrap(), Found::Running);
    cluster.release().await.unwrap();
}

#[tokio::test]
async fn a_killed_postmaster_that_nobody_has_waited_for_does_not_keep_the_cluster_down() {
    let folder = Folder::new();
    let parent = start(&folder.data()).await;
    let killed = parent.pid().unwrap();
    kill("KILL", killed);
    until("the postmaster is gone", || async { !parent.is_alive().await }).await;

    let heir = start(&folder.data()).await;
    assert!(heir.owned());
    assert_ne!(heir.pid(), Some(killed));
    heir.stop(Mode::Fast).await.unwrap();
}

#[tokio::test]
async fn a_socket_whose_lock_was_left_empty_does_not_keep_the_cluster_down() {
    let folder = Folder::new();
    start(&folder.data()).await.release().await.unwrap();
    fs::write(folder.data().join("socket/.s.PGSQL.5432.lock"), "").unwrap();

    start(&folder.data()).await.release().await.unwrap();
}

#[tokio::test]
async fn a_pid_that_belongs_to_another_program_by_now_does_not_keep_the_cluster_down() {
    let folder = Folder::new();
    let cluster = start(&folder.data()).await;
    // Both name their postmaster in the first line: the cluster's lock and its socket's.
    let locks = ["postgres/postmaster.pid", "socket/.s.PGSQL.5432.lock"];
    let locks = locks.map(|lock| folder.data().join(lock));
    let contents = locks.each_ref().map(|lock| fs::read_to_string(lock).unwrap());
    // A program of the cluster's own user: of any other Postgres would know that it cannot be one.
    let owner = fs::metadata(&locks[0]).unwrap();
    cluster.stop(Mode::Fast).await.unwrap();
    let mut other = Command::new("sleep");
    other.arg("600");
    if is_root() {
        std::os::unix::process::CommandExt::uid(&mut other, owner.uid());
    }
    let mut other = other.spawn().unwrap();
    for (lock, content) in locks.iter().zip(contents) {
        let rest = content.split_once('\n').unwrap().1;
        fs::write(lock, format!("{}\n{rest}", other.id())).unwrap();
        std::os::unix::fs::chown(lock, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    let found = cluster.ensure_running().await;
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(found.unwrap(), Found::Restarted);
    cluster.release().await.unwrap();
}

#[tokio::test]
async fn a_start_that_was_cut_short_is_begun_again() {
    let folder = Folder::new();
    fs::create_dir_all(folder.data().join("postgres.new-1/base")).unwrap();
    fs::write(folder.data().join("start.lock"), "").unwrap();

    let cluster = start(&folder.data()).await;
    assert!(!folder.data().join("postgres.new-1").exists());
    cluster.release().await.unwrap();
}

#[tokio::test]
async fn a_folder_too_deep_for_a_socket_gets_its_socket_elsewhere() {
    let folder = Folder::new();
    let deep = folder.data().join("deep".repeat(30));
    let cluster = start(&deep).await;
    let (pid, url) = (cluster.pid(), cluster.url());

    assert!(!deep.join("socket").exists());
    assert_eq!(ask(&cluster, "SELECT 1"), "1");
    let visitor = start(&deep).await;
    assert_eq!((visitor.pid(), visitor.url()), (pid, url));
    let socket_dir =
        ask(&cluster, "SELECT trim('\"' FROM current_setting('unix_socket_directories'))");
    assert_eq!(fs::metadata(&socket_dir).unwrap().permissions().mode() & 0o777, 0o700);
    cluster.stop(Mode::Fast).await.unwrap();
    assert!(!Path::new(&socket_dir).exists());
}

#[tokio::test]
async fn a_folder_of_a_newer_format_is_refused_and_the_newest_known_is_not() {
    let folder = Folder::new();
    fs::create_dir(folder.data()).unwrap();
    fs::write(folder.data().join("format"), "2\n").unwrap();
    assert_eq!(
        refused(&folder.data()).await,
        format!(
            "{:?} has data format 2, this version knows up to 1: use a newer version of accrue, or \
             choose another folder with --data-dir",
            folder.data()
        )
    );
    assert!(!folder.data().join("postgres").exists());

    fs::write(folder.data().join("format"), "one").unwrap();
    let refusal = refused(&folder.data()).await;
    assert!(refusal.ends_with("should hold a data format number, but holds \"one\""), "{refusal}");

    fs::write(folder.data().join("format"), "1\n").unwrap();
    start(&folder.data()).await.release().await.unwrap();
}

#[tokio::test]
async fn a_cluster_of_another_postgres_version_is_refused_by_name() {
    let folder = Folder::new();
    let cluster = start(&folder.data()).await;
    let major = cluster.major();
    cluster.release().await.unwrap();
    fs::write(folder.data().join("postgres/PG_VERSION"), "99\n").unwrap();

    let refusal = refused(&folder.data()).await;
    let wanted = format!("was made by PostgreSQL 99, this machine has {major}");
    assert!(refusal.contains(&wanted), "{refusal}");
}

#[tokio::test]
async fn a_folder_with_other_things_in_it_is_refused_and_left_as_it_was() {
    let folder = Folder::new();
    fs::create_dir(folder.data()).unwrap();
    fs::write(folder.data().join("letter.txt"), "dear").unwrap();

    let refusal = refused(&folder.data()).await;
    assert!(refusal.ends_with("not empty: choose another with --data-dir"), "{refusal}");
    assert_eq!(fs::read_dir(folder.data()).unwrap().count(), 1);
}

#[tokio::test]
async fn root_is_told_which_folder_the_clusters_user_cannot_enter() {
    if !is_root() {
        return; // anybody else runs the cluster as himself
    }
    let folder = Folder::new();
    let closed = folder.closed();

    let refusal = refused(&closed.join("data")).await;
    assert!(refusal.contains(&format!("cannot enter {closed:?}")), "{refusal}");
    assert!(refusal.contains("--data-dir"), "{refusal}");
}

#[tokio::test]
async fn root_may_have_a_closed_folder_linked_to_one_that_the_clusters_user_can_enter() {
    if !is_root() {
        return; // anybody else runs the cluster as himself
    }
    let folder = Folder::new();
    let closed = folder.closed();
    let (data, base) = (closed.join("data"), folder.0.join("open/base"));
    let options = || Options { elsewhere: Some(base.clone()), ..Options::small() };
    let start = async || Cluster::start(&data, options()).await.unwrap();

    let cluster = start().await;
    let made = fs::read_link(&data).unwrap();
    assert_eq!(made.parent(), Some(&*base));
    assert_eq!(cluster.data_dir(), made);
    cluster.release().await.unwrap();
    let again = start().await;
    assert_eq!(again.data_dir(), made, "it is kept");
    again.release().await.unwrap();
    // Whoever removes what he sees begins anew.
    fs::remove_file(&data).unwrap();
    let anew = start().await;
    assert_ne!(anew.data_dir(), made);
    let anew_in = anew.data_dir().to_owned();
    anew.release().await.unwrap();
    // And so does whoever removes what it leads to.
    fs::remove_dir_all(&anew_in).unwrap();
    start().await.release().await.unwrap();
    // Where there is no need nothing is done, and what is there is left alone.
    let cluster = Cluster::start(&folder.data(), options()).await.unwrap();
    assert_eq!(cluster.data_dir(), folder.data());
    cluster.release().await.unwrap();
    fs::remove_file(&data).unwrap();
    fs::create_dir(&data).unwrap();
    let refusal = Cluster::start(&data, options()).await.unwrap_err();
    assert!(matches!(refusal, Error::Unreachable { .. }), "{refusal}");
}

#[tokio::test]
async fn a_machine_without_postgres_is_told_how_to_get_it() {
    let folder = Folder::new();
    let options = Options { bin_dir: Some(folder.0.clone()), ..Options::small() };
    let refusal = Cluster::start(&folder.data(), options).await.unwrap_err();
    assert!(matches!(refusal, Error::NotInstalled { .. }), "{refusal}");
}

#[tokio::test]
async fn a_postmaster_that_refuses_to_start_is_quoted() {
    let folder = Folder::new();
    start(&folder.data()).await.release().await.unwrap();
    let settings = vec![("max_connections".to_owned(), "-1".to_owned())];
    let options = Options { settings, ..Options::small() };

    let refusal = Cluster::start(&folder.data(), options).await.unwrap_err().to_string();
    assert!(refusal.starts_with("Postgres did not start: FATAL:"), "{refusal}");
    assert!(refusal.contains("max_connections"), "{refusal}");
}

#[tokio::test]
async fn ctrl_c_in_our_terminal_does_not_reach_the_postmaster() {
    let cluster = Cluster::scratch(Options::small()).await.unwrap();
    let group_of = |pid: u32| {
        let ps = Command::new("ps").args(["-o", "pgid=", "-p", &pid.to_string()]).output().unwrap();
        String::from_utf8(ps.stdout).unwrap().trim().to_owned()
    };
    assert_ne!(group_of(cluster.pid().unwrap()), group_of(std::process::id()));
}

#[tokio::test]
async fn a_program_that_cannot_run_as_postgres_is_no_postgres() {
    let folder = Folder::new();
    for program in ["postgres", "initdb", "pg_ctl", "createdb"] {
        let wrapper = folder.0.join(program);
        fs::write(&wrapper, "#!/bin/sh\necho 'postgres (PostgreSQL) 15.1'; exit 1\n").unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let options = Options { bin_dir: Some(folder.0.clone()), ..Options::small() };
    let refusal = Cluster::start(&folder.data(), options).await.unwrap_err();
    assert!(matches!(refusal, Error::NotInstalled { .. }), "{refusal}");
}

/// Variable that makes [`the_process_that_is_killed`] do something, and says where.
const VICTIM: &str = "ACCRUE_TEST_VICTIM";

/// Not a test of its own: the other half of those below, which run it in a process to kill.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Ok(place) = std::env::var(VICTIM) else { return };
    let cluster = match place.as_str() {
        "scratch" => Cluster::scratch(Options::small()).await.unwrap(),
        data_dir => start(Path::new(data_dir)).await,
    };
    println!("\nready {}", cluster.data_dir().display());
    std::future::pending::<()>().await;
}

/// Starts a cluster in another process, kills that process, and says where the cluster is.
fn start_and_be_killed(place: &str) -> PathBuf {
    let mut victim = Command::new(std::env::current_exe().unwrap());
    victim.args(["--exact", "the_process_that_is_killed", "--nocapture"]).env(VICTIM, place);
    let mut victim = victim.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let ready =
        lines.map_while(Result::ok).find_map(|line| line.strip_prefix("ready ").map(PathBuf::from));
    victim.kill().unwrap();
    victim.wait().unwrap();
    ready.expect("the other process starts a cluster")
}

#[tokio::test]
async fn a_cluster_outlives_the_kill_of_its_starter_and_is_joined() {
    let folder = Folder::new();
    start_and_be_killed(folder.data().to_str().unwrap());
    let pid = pid_in(&folder.data());
    assert!(pid.is_some());

    let cluster = start(&folder.data()).await;
    assert_eq!((cluster.pid(), cluster.owned()), (pid, false));
    // The dead starter has no say any more.
    assert_eq!(cluster.release().await.unwrap(), Released::Stopped);
}

#[tokio::test]
async fn a_scratch_cluster_does_not_outlive_the_kill_of_its_starter() {
    let dir = start_and_be_killed("scratch");
    until("the folder is removed", || async { !dir.exists() }).await;
}

#[tokio::test]
async fn a_scratch_cluster_is_gone_when_dropped() {
    let cluster = Cluster::scratch(Options::small()).await.unwrap();
    let dir = cluster.data_dir().to_path_buf();
    assert_eq!(ask(&cluster, "SELECT 1"), "1");
    drop(cluster);
    assert!(!dir.exists());
}

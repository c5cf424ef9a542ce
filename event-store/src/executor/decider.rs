//! The one task that decides. It never waits for the database: what it misses is loaded beside
//! it, and the commands that need it are parked until then.
//!
//! A batch that another process was faster than is decided again under the log's own lock: with
//! it held nobody else writes, so what is loaded then cannot be overtaken, and nobody starves.

mod admission;
mod decide;
mod newcomers;
mod pace;
mod rows;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use accrue_domain::aggregate::Kind;
use accrue_domain::event::Event;
use accrue_domain::program::Settings;
use chrono::{DateTime, Utc};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::batch::{BATCH_COMMANDS_MAX, Decided, Pending, Touched};
use super::cache::Cache;
use super::hash::{HashMap, HashSet};
use super::loader::{Load, Loaded, Loader, Wanted};
use super::request::{Key, Request, Work};
use super::warmer::{self, Warm, Warming};
use super::writer::{Job, Reason, Report, Write};
use super::{LOADS_MAX, Others, Parts};
use crate::clock::Clock;
use crate::log::Names;
use crate::metrics::Metrics;
use crate::receipt::{ExecuteError, Receipt};
use crate::snapshots;
use crate::stream::StreamKey;

use newcomers::Newcomers;
use pace::Pace;

/// How often a command is decided again because another process was faster.
const ATTEMPTS_MAX: u32 = 50;

/// Most requests taken from the queue, and most decided, in one go.
const TAKE_MAX: usize = 32;

/// Most commands parked for a load, and most that wait for one under the same key; beyond it the
/// queue waits.
const PARKED_MAX: usize = 5_000;

/// After a key turned out to be used, the keys of so many commands are looked up beforehand.
const CHECKS_AFTER_HIT: u32 = 5_000;

pub(super) struct Decider {
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    requests: mpsc::Receiver<Box<Request>>,
    closing: CancellationToken,
    writer: mpsc::Sender<Job>,
    reports: mpsc::Receiver<Report>,
    loader: Loader,
    loaded: mpsc::UnboundedReceiver<Loaded>,
    others: mpsc::Receiver<Others>,
    warming: Arc<Warming>,
    warm: mpsc::Receiver<Warm>,
    cache: Cache,
    /// Commands to be decided next, in this order.
    ready: VecDeque<Box<Request>>,
    /// Commands that wait for a load, in the order of their arrival.
    parked: VecDeque<Box<Request>>,
    /// Streams that a parked command will change: later commands queue up behind it.
    blocked: HashSet<StreamKey>,
    wanted: Wanted,
    /// Loads that have begun and are not learnt from yet.
    under_way: Vec<Load>,
    /// Number of the last load that began.
    loads: u64,
    newcomers: Newcomers,
    /// Streams that were taken for new, and that neither a load nor the index has judged yet.
    guessed: HashSet<StreamKey>,
    /// Number of the last load whose result is of no use: it began before the lock was asked for.
    superseded: u64,
    /// Streams forgotten while loads were under way, and the last of those loads: what they bring
    /// of them may be older.
    outdated: HashMap<StreamKey, u64>,
    /// Keys of commands that are not answered yet, with later requests under the same key.
    #[expect(clippy::vec_box, reason = "a request moves between queues; its box does not")]
    keys: HashMap<Key, Vec<Box<Request>>>,
    /// Number of those later requests.
    twins: usize,
    /// Commands whose keys are still to be looked up beforehand.
    checks: u32,
    pending: Pending,
    /// Uses of memory before the first command of that batch was decided.
    began: u64,
    /// Most commands in the next batch. Halved while the database refuses batches, so that the
    /// one command that it cannot digest is found and the others are not refused with it.
    batch_commands_max: usize,
    in_flight: Option<InFlight>,
    pace: Pace,
    /// What has committed and is not settled yet.
    over: Option<InFlight>,
    /// A job was handed over, and the writer has not had its turn since.
    handed_over: bool,
    lock: Lock,
    /// The database is out of reach.
    degraded: bool,
    names: Names,
    last_now: DateTime<Utc>,
}

/// What the writer is busy with.
#[derive(Debug)]
enum InFlight {
    /// Waiting for the log's lock.
    Lock,
    /// A batch with these keys and streams, the uses of memory before it, and so many commands and
    /// rows.
    Batch { keys: Vec<Key>, touched: Vec<Touched>, began: u64, commands: usize, rows: usize },
}

/// The log's lock, as far as the decider is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// Not needed: the writer takes it with each batch.
    Free,
    /// Nothing is decided or loaded until it is held.
    Wanted,
    /// The next batch is decided under it, and gives it back.
    Held,
}

/// A decided command's events by stream.
type Decisions = Vec<(StreamKey, Vec<Event>)>;

impl Decider {
    pub(super) fn new(
        parts: &Parts,
        others: mpsc::Receiver<Others>,
        requests: mpsc::Receiver<Box<Request>>,
        closing: CancellationToken,
        writer: mpsc::Sender<Job>,
        reports: mpsc::Receiver<Report>,
    ) -> Self {
        // As many as loads were begun; a load that found no room for its word would be waited for
        // in vain.
        let (loaded_tx, loaded) = mpsc::unbounded_channel();
        let cache = Cache::new(parts.limits.cache_bytes_max);
        let (clock, metrics) = (Arc::clone(&parts.clock), parts.metrics.clone());
        let loader = Loader::new(Handle::current(), parts, loaded_tx);
        let (warming, warm) = warmer::start(parts);
        Self {
            clock,
            metrics,
            requests,
            closing,
            writer,
            reports,
            loader,
            loaded,
            others,
            warming,
            warm,
            cache,
            ready: VecDeque::new(),
            parked: VecDeque::new(),
            blocked: HashSet::default(),
            wanted: Wanted::default(),
            under_way: Vec::new(),
            loads: 0,
            newcomers: Newcomers::default(),
            guessed: HashSet::default(),
            superseded: 0,
            outdated: HashMap::default(),
            keys: HashMap::default(),
            twins: 0,
            checks: 0,
            pending: Pending::default(),
            began: 0,
            batch_commands_max: BATCH_COMMANDS_MAX,
            in_flight: None,
            pace: Pace::default(),
            over: None,
            handed_over: false,
            lock: Lock::Free,
            degraded: false,
            names: Names::default(),
            last_now: DateTime::<Utc>::MIN_UTC,
        }
    }

    pub(super) async fn run(mut self) {
        let mut taken = Vec::with_capacity(TAKE_MAX);
        let mut open = true;
        loop {
            // A batch that is closed is on its way before more is decided.
            self.begin_job();
            let progressed = !self.handed_over && self.drain();
            self.flush();
            // A job that was handed over is begun before anything else is done, and an answer of
            // Postgres is heard before everything is decided: the writer shares the thread. What is
            // over comes last, since nobody waits for that.
            if mem::take(&mut self.handed_over) || progressed {
                tokio::task::yield_now().await;
            }
            if let Some(over) = self.over.take() {
                self.settle(over, false);
            }
            if progressed || (self.may_decide() && !self.ready.is_empty()) {
                self.hear();
                continue;
            }
            if !open && self.is_done() {
                return;
            }
            // Nothing is ready here, or the batch is closed for the next one's sake; with those who come
            // it may be open again.
            let room = self.lock == Lock::Free
                && !self.is_full()
                && self.ready.len() + self.parked.len() + self.twins < PARKED_MAX;
            tokio::select! {
                biased;
                Some(report) = self.reports.recv() => self.reported(report),
                Some(loaded) = self.loaded.recv() => self.learn(loaded),
                Some(others) = self.others.recv() => self.heed(others),
                count = self.requests.recv_many(&mut taken, TAKE_MAX), if open && room => {
                    open = count > 0;
                    self.ready.extend(taken.drain(..));
                }
                Some(warm) = self.warm.recv() => self.take_in(warm),
                () = self.closing.cancelled(), if open => {
                    // From now on the handles refuse; what is in the queue is still served.
                    self.requests.close();
                    while let Ok(request) = self.requests.try_recv() {
                        self.ready.push_back(request);
                    }
                    open = false;
                }
            }
        }
    }

    /// What was said while others were decided.
    fn hear(&mut self) {
        if let Ok(report) = self.reports.try_recv() {
            self.reported(report);
        }
        if let Ok(loaded) = self.loaded.try_recv() {
            self.learn(loaded);
        }
        if let Ok(others) = self.others.try_recv() {
            self.heed(others);
        }
    }

    fn heed(&mut self, others: Others) {
        match others {
            Others::Changed(streams) => streams.iter().for_each(|stream| self.forget(stream)),
            Others::Moved => self.forget_all(),
        }
    }

    /// Decides what is ready, as far as the batch has room for it, and some of it at a time; whether
    /// there was any.
    fn drain(&mut self) -> bool {
        for count in 0..TAKE_MAX {
            if !self.may_decide() {
                return count > 0;
            }
            let Some(request) = self.ready.pop_front() else { return count > 0 };
            self.admit(request);
        }
        true
    }

    fn may_decide(&self) -> bool {
        self.lock != Lock::Wanted && !self.is_full() && !self.is_half()
    }

    fn is_full(&self) -> bool {
        self.pending.is_full() || self.pending.decided.len() >= self.batch_commands_max
    }

    /// Has the batch half of all commands that are here, while another one is being written? With all
    /// of them in one batch nobody would have anything to do until it is
    /// written, and then Postgres nothing until they are answered and others have come. Who finds it
    /// closed waits for the one that is being written, a dry run as well.
    fn is_half(&self) -> bool {
        let decided = self.pending.decided.len();
        // While some wait for a load, others behind the closed batch would only come to theirs later.
        if decided < self.pace.half_min() || self.is_loading() {
            return false;
        }
        let Some(InFlight::Batch { commands, .. }) = &self.in_flight else { return false };
        let all = commands + decided + self.ready.len() + self.requests.len();
        decided >= all / 2
    }

    fn is_done(&self) -> bool {
        let waiting = self.ready.len() + self.parked.len();
        waiting == 0 && self.pending.is_empty() && self.in_flight.is_none() && !self.is_loading()
    }

    /// Hands on what has gathered, to whoever is idle.
    fn flush(&mut self) {
        self.begin_job();
        let room = self.under_way.len() < LOADS_MAX as usize;
        if room && self.lock != Lock::Wanted && !self.wanted.is_empty() {
            self.loads += 1;
            self.under_way.push(self.loader.load(self.loads, mem::take(&mut self.wanted)));
        }
    }

    fn begin_job(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        match self.lock {
            Lock::Free if !self.pending.is_empty() => self.write(),
            Lock::Wanted => self.hand_over(Job::Lock, InFlight::Lock),
            // Also when nothing came of it all: the lock is to be given back.
            Lock::Held if self.is_ripe() => self.write(),
            Lock::Free | Lock::Held => {}
        }
    }

    fn is_loading(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Is what was decided under the lock to be written now? What was decided elsewhere is not
    /// waited behind: a command on its stream would load the same state again and again.
    fn is_ripe(&self) -> bool {
        let waits = !self.parked.is_empty() || self.is_loading();
        self.is_full() || (self.ready.is_empty() && (!self.pending.raws.is_empty() || !waits))
    }

    fn write(&mut self) {
        let next = self.pending.like();
        let mut pending = mem::replace(&mut self.pending, next);
        let keys = mem::take(&mut pending.keys);
        let touched = mem::take(&mut pending.touched);
        let began = mem::replace(&mut self.began, self.cache.uses());
        let commands = pending.decided.len();
        let rows = pending.events.len() + keys.len();
        let write = Write { keyed: !keys.is_empty(), pending, now: self.now() };
        let in_flight = InFlight::Batch { keys, touched, began, commands, rows };
        self.hand_over(Job::Write(Box::new(write)), in_flight);
    }

    fn hand_over(&mut self, job: Job, in_flight: InFlight) {
        self.in_flight = Some(in_flight);
        self.handed_over = true;
        // One job at a time, so there is always room; a writer that is gone went with us.
        if self.writer.try_send(job).is_err() {
            tracing::error!("the log writer has stopped");
            self.closing.cancel();
        }
    }

    fn reported(&mut self, report: Report) {
        match report {
            Report::Degraded => {
                self.degraded = true;
                self.lock = Lock::Free;
                self.abandon_pending();
            }
            Report::Locked => {
                self.in_flight = None;
                self.lock = Lock::Held;
            }
            // Without the lock the next batch takes its chance, as the first one did.
            Report::NotLocked => {
                self.in_flight = None;
                self.lock = Lock::Free;
            }
            Report::Committed { took } => {
                if let (Some(took), Some(InFlight::Batch { rows, .. })) = (took, &self.in_flight) {
                    self.pace.committed(*rows, took);
                }
                self.degraded = false;
                self.lock = Lock::Free;
                self.batch_commands_max = (self.batch_commands_max * 2).min(BATCH_COMMANDS_MAX);
                self.over = self.in_flight.take();
            }
            Report::Failed => {
                self.pace.failed();
                self.degraded = false;
                self.lock = Lock::Free;
                self.settle_failed();
                self.abandon_pending();
            }
            Report::Moved => {
                self.pace.failed();
                self.degraded = false;
                self.lock = Lock::Free;
                self.settle_failed();
                self.abandon_pending();
                self.forget_all();
            }
            Report::Indigestible => {
                self.degraded = false;
                self.settle_failed();
                self.again(Vec::new(), Reason::Indigestible);
            }
            Report::Rejected { decided, reason } => {
                self.degraded = false;
                self.again(decided, reason);
            }
        }
        self.tell_memory();
    }

    fn tell_memory(&self) {
        let (count, bytes) = (self.cache.len(), self.cache.bytes());
        self.metrics.cached_aggregates.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.metrics.cached_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn settle_failed(&mut self) {
        if let Some(failed) = self.in_flight.take() {
            self.settle(failed, true);
        }
    }

    /// A batch that was in flight is over: its keys are free, and where it failed its streams stale.
    fn settle(&mut self, over: InFlight, failed: bool) {
        let InFlight::Batch { keys, touched, began, .. } = over else { return };
        for key in keys {
            self.release(&key);
        }
        // Memory has lost nothing that was used since, so it has all of the batch.
        let kept = !failed && !self.cache.has_lost_since(began);
        for Touched { stream, sequence, due } in touched {
            if self.guessed.remove(&stream) && !failed {
                self.newcomers.confirm(stream.kind());
            }
            if kept && !due {
                continue;
            }
            let known = self.cache.sequence(&stream);
            // Whoever dropped it meanwhile may have read it again without this batch.
            if failed || known.is_none_or(|known| known < sequence) {
                self.forget(&stream);
            } else if due
                && self.cache.touch(&stream)
                && let Some(entry) = self.cache.get_mut(&stream)
                && snapshots::is_due(sequence, entry.snapshot)
            {
                // Memory is ahead, by what a snapshot taken now will not have.
                entry.snapshot = sequence;
                self.loader.snapshot(stream);
            }
        }
    }

    /// Everything decided on top of a rejected batch, and what waits, is decided again in the
    /// same order, from what the database has now.
    fn again(&mut self, rejected: Vec<Decided>, reason: Reason) {
        let pending = mem::take(&mut self.pending);
        if let Some(InFlight::Batch { touched, .. }) = self.in_flight.take() {
            if reason == Reason::Event {
                let guessed = touched.iter().filter(|it| self.guessed.contains(&it.stream));
                let kinds: HashSet<Kind> = guessed.map(|it| it.stream.kind()).collect();
                kinds.into_iter().for_each(|kind| self.newcomers.disappoint(kind));
            }
            touched.iter().for_each(|it| self.forget(&it.stream));
        }
        pending.touched.iter().for_each(|it| self.forget(&it.stream));
        let parked = mem::take(&mut self.parked);
        for stream in mem::take(&mut self.blocked) {
            self.forget(&stream);
        }
        self.wanted = Wanted::default();
        let by_key = reason == Reason::Key;
        if by_key {
            self.checks = CHECKS_AFTER_HIT;
        }
        if reason == Reason::Indigestible {
            self.lock = Lock::Free;
            if !rejected.is_empty() {
                self.batch_commands_max = (rejected.len() / 2).max(1);
            }
        } else {
            self.lock = Lock::Wanted;
            self.warming.end_epoch();
            // A load under way is not waited for: another one begins under the lock.
            self.superseded = self.loads;
            self.under_way.clear();
            self.outdated.clear();
        }
        let mut ready = VecDeque::with_capacity(rejected.len());
        for mut decided in rejected {
            decided.request.attempts += u32::from(reason != Reason::Indigestible);
            // A raw append is decided nowhere again: its sequence is compared instead.
            let raw = matches!(decided.request.work, Work::Raw { .. });
            decided.request.check |= raw || (by_key && decided.request.holds_key);
            if decided.request.attempts > ATTEMPTS_MAX {
                self.give_up(decided.request, ExecuteError::Conflict);
            } else {
                ready.push_back(decided.request);
            }
        }
        for mut decided in pending.decided {
            decided.request.check |= matches!(decided.request.work, Work::Raw { .. });
            ready.push_back(decided.request);
        }
        ready.extend(parked);
        ready.append(&mut self.ready);
        self.ready = ready;
    }

    fn abandon_pending(&mut self) {
        let pending = mem::take(&mut self.pending);
        for touched in &pending.touched {
            self.forget(&touched.stream);
        }
        for decided in pending.decided {
            self.give_up(decided.request, ExecuteError::Unavailable);
        }
    }

    /// Answers a request that made no row, and lets go of its key.
    fn give_up(&mut self, request: Box<Request>, error: ExecuteError) {
        self.finish(request, Err(error));
    }

    fn finish(&mut self, request: Box<Request>, answer: Result<Receipt, ExecuteError>) {
        let key = request.key.clone().filter(|_| request.holds_key);
        request.answer(answer);
        if let Some(key) = key {
            self.release(&key);
        }
    }

    /// The key's command is answered: requests that came under the same key look its row up.
    fn release(&mut self, key: &Key) {
        for mut request in self.keys.remove(key).unwrap_or_default() {
            self.twins -= 1;
            request.check = true;
            self.ready.push_back(request);
        }
    }

    fn settings(&self, request: &Request) -> Settings {
        let entry = request.settings.as_ref().and_then(|key| self.cache.get(key));
        entry.and_then(|entry| entry.state.settings()).cloned().unwrap_or_default()
    }

    fn version(&self, request: &Request) -> i64 {
        request.streams.last().map_or(0, |stream| self.version_of(stream))
    }

    fn version_of(&self, stream: &StreamKey) -> i64 {
        self.cache.sequence(stream).unwrap_or(0)
    }

    /// The clock, never backwards: recorded times follow the log's order within a process.
    fn now(&mut self) -> DateTime<Utc> {
        self.last_now = self.clock.now().max(self.last_now);
        self.last_now
    }
}

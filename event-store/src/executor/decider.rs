//! The one task that decides. It never waits for the database: what it misses is loaded beside
//! it, and the commands that need it are parked until then.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use accrue_domain::aggregate::{Context, RefusalKind};
use accrue_domain::envelope::Envelope;
use accrue_domain::event::Event;
use accrue_domain::program::Settings;
use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Parts;
use super::batch::{Decided, Pending};
use super::cache::Cache;
use super::loader::{Found, Loaded, Loader, Wanted};
use super::request::{Key, RawEvent, RawStream, Request, Work};
use super::writer::{Job, Report, Writer};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::receipt::{ExecuteError, Receipt, Refusal};
use crate::record::{Metadata, Recorded, Row};
use crate::snapshots;
use crate::stream::StreamKey;

/// How often a command is decided again because another process was faster.
const ATTEMPTS_MAX: u32 = 50;

/// Most requests taken from the queue in one go.
const TAKE_MAX: usize = 512;

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
    loaded: mpsc::Receiver<Loaded>,
    others: mpsc::Receiver<Vec<StreamKey>>,
    cache: Cache,
    /// Commands that wait for a load, in the order of their arrival.
    parked: VecDeque<Box<Request>>,
    /// Streams that a parked command will change: later commands queue up behind it.
    blocked: HashSet<StreamKey>,
    wanted: Wanted,
    loading: bool,
    /// Number of the last load that began.
    loads: u64,
    /// Streams forgotten while a load is under way: what it brings of them may be older.
    outdated: HashSet<StreamKey>,
    /// Keys of commands that are not answered yet, with later requests under the same key.
    #[expect(clippy::vec_box, reason = "a request moves between queues; its box does not")]
    keys: HashMap<Key, Vec<Box<Request>>>,
    /// Number of those later requests.
    twins: usize,
    /// Commands whose keys are still to be looked up beforehand.
    checks: u32,
    pending: Pending,
    /// What the writer is busy with: its keys and streams.
    in_flight: Option<(Vec<Key>, Vec<StreamKey>)>,
    /// The database is out of reach.
    degraded: bool,
    last_now: DateTime<Utc>,
}

/// A decided command's events by stream.
type Decisions = Vec<(StreamKey, Vec<Event>)>;

impl Decider {
    pub(super) fn new(
        parts: Parts,
        others: mpsc::Receiver<Vec<StreamKey>>,
        requests: mpsc::Receiver<Box<Request>>,
        closing: CancellationToken,
    ) -> Self {
        let (reports_tx, reports) = mpsc::channel(4);
        let (loaded_tx, loaded) = mpsc::channel(1);
        let cache = Cache::new(parts.limits.cached_aggregates_max);
        let (clock, metrics) = (Arc::clone(&parts.clock), parts.metrics.clone());
        let loader = Loader::new(parts.pool.clone(), parts.codec.clone(), loaded_tx);
        let writer = Writer::start(parts, reports_tx);
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
            cache,
            parked: VecDeque::new(),
            blocked: HashSet::new(),
            wanted: Wanted::default(),
            loading: false,
            loads: 0,
            outdated: HashSet::new(),
            keys: HashMap::new(),
            twins: 0,
            checks: 0,
            pending: Pending::default(),
            in_flight: None,
            degraded: false,
            last_now: DateTime::<Utc>::MIN_UTC,
        }
    }

    pub(super) async fn run(mut self) {
        let mut taken = Vec::with_capacity(TAKE_MAX);
        let mut open = true;
        loop {
            let room = !self.pending.is_full() && self.parked.len() + self.twins < PARKED_MAX;
            tokio::select! {
                biased;
                Some(report) = self.reports.recv() => self.reported(report),
                Some(loaded) = self.loaded.recv() => self.learn(loaded),
                Some(streams) = self.others.recv() => {
                    streams.iter().for_each(|stream| self.forget(stream));
                }
                count = self.requests.recv_many(&mut taken, TAKE_MAX), if open && room => {
                    open = count > 0;
                    for request in taken.drain(..) {
                        self.admit(request);
                    }
                }
                () = self.closing.cancelled(), if open => {
                    // From now on the handles refuse; what is in the queue is still served.
                    self.requests.close();
                    while let Ok(request) = self.requests.try_recv() {
                        self.admit(request);
                    }
                    open = false;
                }
            }
            self.flush();
            let idle = self.pending.is_empty() && self.in_flight.is_none() && !self.loading;
            if !open && idle && self.parked.is_empty() {
                return;
            }
        }
    }

    /// Hands on what has gathered, to whoever is idle.
    fn flush(&mut self) {
        if self.in_flight.is_none() && !self.pending.is_empty() {
            let mut pending = mem::take(&mut self.pending);
            let keys = mem::take(&mut pending.keys);
            let touched = mem::take(&mut pending.touched);
            let job = Job { keyed: !keys.is_empty(), pending, now: self.now() };
            self.in_flight = Some((keys, touched));
            // One job at a time, so there is always room; a writer that is gone went with us.
            if self.writer.try_send(job).is_err() {
                tracing::error!("the log writer has stopped");
                self.closing.cancel();
            }
        }
        if !self.loading && !self.wanted.is_empty() {
            self.loading = true;
            self.loads += 1;
            self.loader.load(self.loads, mem::take(&mut self.wanted));
        }
    }

    /// Decides a request, or parks it until what it needs is there.
    fn admit(&mut self, mut request: Box<Request>) {
        if self.degraded {
            return self.give_up(request, ExecuteError::Unavailable);
        }
        if !request.holds_key
            && let Some(key) = request.key()
        {
            if let Some(waiting) = self.keys.get_mut(&key) {
                waiting.push(request);
                self.twins += 1;
                return;
            }
            self.keys.insert(key, Vec::new());
            request.holds_key = true;
            request.check |= self.checks > 0;
        }
        if self.must_wait(&request) {
            return self.park(request);
        }
        self.decide(request);
    }

    /// Notes what is to be loaded for it, and whether it has to wait.
    fn must_wait(&mut self, request: &Request) -> bool {
        let mut wait = false;
        if request.check {
            self.wanted.check(request);
            wait = true;
        }
        wait |= request.needs_proof && !request.proven;
        for stream in &request.streams {
            if self.blocked.contains(stream) {
                wait = true;
            }
        }
        for stream in request.streams.iter().chain(&request.settings) {
            if !self.cache.touch(stream) {
                self.wanted.streams.insert(stream.clone());
                wait = true;
            }
        }
        wait
    }

    fn decide(&mut self, request: Box<Request>) {
        let now = self.now();
        let first = self.pending.events.len();
        let envelope = match &request.work {
            Work::Command(envelope) => envelope,
            Work::Raw { .. } => return self.take_raw(request, now),
        };
        // A defect in a rule must not take the ledger down with it.
        let decided = catch_unwind(AssertUnwindSafe(|| self.decisions(&request, envelope, now)));
        let changes = matches!(&decided, Ok(Ok(it)) if it.iter().any(|(_, e)| !e.is_empty()));
        if !changes && !request.proven {
            let mut request = request;
            request.needs_proof = true;
            return self.park(request);
        }
        let decisions = match decided {
            Ok(Ok(decisions)) => decisions,
            Ok(Err(refusal)) if request.dry_run => {
                let error = ExecuteError::Refused { refusal, replayed: false };
                return request.answer(Err(error));
            }
            Ok(Err(refusal)) => {
                let version = self.version(&request);
                return self.pending.push(request, first, version, Some(refusal));
            }
            Err(_) => {
                tracing::error!(command.id = %envelope.id, "a rule panicked");
                return self.give_up(request, ExecuteError::Fault);
            }
        };
        let metadata = metadata(envelope, now);
        if request.dry_run {
            return answer_dry(*request, &decisions, &metadata, now);
        }
        let settle = settles(envelope);
        let mut version = self.version(&request);
        for (stream, events) in decisions {
            version = self.apply(&stream, events, &metadata, now, settle);
            self.pending.touched.push(stream);
        }
        self.pending.push(request, first, version, None);
    }

    /// Lets a request wait for the next load, which also shows whether memory is as new as the
    /// request: whoever waits anyway need not ask again.
    fn park(&mut self, mut request: Box<Request>) {
        if request.asked == 0 {
            request.asked = self.loads + 1;
        }
        if !request.proven {
            let streams = request.streams.iter().chain(&request.settings);
            let known = streams.filter(|stream| self.cache.get(stream).is_some());
            self.wanted.versions.extend(known.cloned());
        }
        self.blocked.extend(request.streams.iter().cloned());
        self.parked.push_back(request);
    }

    /// Drops a stream from memory, also from what a load under way may bring of it.
    fn forget(&mut self, stream: &StreamKey) {
        self.cache.remove(stream);
        if self.loading {
            self.outdated.insert(stream.clone());
        }
    }

    /// What the command's actions lead to. Nothing is changed yet, so a late "no" undoes nothing.
    fn decisions(
        &self,
        request: &Request,
        envelope: &Envelope,
        now: DateTime<Utc>,
    ) -> Result<Decisions, Refusal> {
        let settings = self.settings(request);
        let context = Context {
            now,
            occurred_at: envelope.occurred_at.map_or(now, |at| at.min(now)),
            command_id: &envelope.id,
            settings: &settings,
        };
        if let Some(expected) = envelope.expected_version {
            check_version(expected, self.version_of(&request.streams[0]))?;
        }
        let mut decisions: Decisions = Vec::with_capacity(envelope.actions.len());
        for (stream, action) in request.streams.iter().zip(&envelope.actions) {
            let entry = self.cache.get(stream).ok_or_else(not_loaded)?;
            let earlier = decisions.iter().filter(|(s, _)| s == stream);
            let events: Vec<&Event> = earlier.flat_map(|(_, events)| events).collect();
            let decided = if events.is_empty() {
                entry.state.decide(action.clone(), &context)?
            } else {
                // The same stream twice in one command: the second sees what the first did.
                let mut state = entry.state.clone();
                events.into_iter().for_each(|event| state.evolve(event));
                state.decide(action.clone(), &context)?
            };
            decisions.push((stream.clone(), decided));
        }
        Ok(decisions)
    }

    /// Folds decided events into the state in memory and adds them to the batch.
    fn apply(
        &mut self,
        stream: &StreamKey,
        events: Vec<Event>,
        metadata: &str,
        now: DateTime<Utc>,
        settle: bool,
    ) -> i64 {
        let Some(entry) = self.cache.get_mut(stream) else { return 0 };
        let deadline = entry.state.next_deadline();
        for event in events {
            entry.state.evolve(&event);
            entry.sequence += 1;
            let row = row(stream, &event, metadata.to_owned(), now);
            self.pending.push_event(Some(stream.clone()), entry.sequence, row, Some(event));
        }
        let moved = entry.state.next_deadline();
        if moved != deadline {
            self.pending.timers.insert(stream.clone(), moved);
        } else if settle {
            // A timer that fired is always corrected, or a stale row would fire for ever.
            self.pending.corrections.insert(stream.clone(), moved);
        }
        entry.sequence
    }

    /// Events decided elsewhere: the unique index judges them. Nothing else of this batch may
    /// stand on the same stream, or the two would fail each other for ever.
    fn take_raw(&mut self, request: Box<Request>, now: DateTime<Utc>) {
        let Work::Raw { stream, sequence, events } = &request.work else { return };
        let ours = stream.ours();
        let known = ours.as_ref().map_or(0, |ours| self.version_of(ours));
        if known > *sequence || self.pending.raws.contains(stream) {
            return self.give_up(request, ExecuteError::Conflict);
        }
        let first = self.pending.events.len();
        let mut sequence = *sequence;
        for event in events {
            sequence += 1;
            let row = raw_row(stream, event, now);
            self.pending.push_event(ours.clone(), sequence, row, None);
        }
        self.pending.raws.insert(stream.clone());
        if let Some(ours) = ours {
            self.forget(&ours);
            // What time will do to the stream was not decided here: the scheduler finds out.
            self.pending.timers.insert(ours.clone(), Some(now));
            self.pending.touched.push(ours);
        }
        self.pending.push(request, first, sequence, None);
    }

    fn reported(&mut self, report: Report) {
        match report {
            Report::Degraded => {
                self.degraded = true;
                self.abandon_pending();
            }
            Report::Committed => {
                self.degraded = false;
                self.settle_in_flight(false);
            }
            Report::Failed => {
                self.degraded = false;
                self.settle_in_flight(true);
                self.abandon_pending();
            }
            Report::Rejected { decided, by_key } => {
                self.degraded = false;
                self.again(decided, by_key);
            }
        }
        self.metrics.cached_aggregates.set(i64::try_from(self.cache.len()).unwrap_or(i64::MAX));
    }

    /// The batch in flight is over: its keys are free, and where it failed its streams stale.
    fn settle_in_flight(&mut self, failed: bool) {
        let Some((keys, touched)) = self.in_flight.take() else { return };
        for key in keys {
            self.release(&key);
        }
        for stream in touched {
            if failed {
                self.forget(&stream);
            } else if let Some(entry) = self.cache.get_mut(&stream)
                && snapshots::is_due(entry.sequence, entry.snapshot)
            {
                entry.snapshot = entry.sequence;
                self.loader.snapshot(stream);
            }
        }
    }

    /// Everything decided on top of a rejected batch is decided again, in the same order, from
    /// what the database has now.
    fn again(&mut self, rejected: Vec<Decided>, by_key: bool) {
        let pending = mem::take(&mut self.pending);
        let (_, touched) = self.in_flight.take().unwrap_or_default();
        for stream in touched.iter().chain(&pending.touched) {
            self.forget(stream);
        }
        if by_key {
            self.checks = CHECKS_AFTER_HIT;
        }
        let parked = mem::take(&mut self.parked);
        self.blocked.clear();
        for mut decided in rejected {
            decided.request.attempts += 1;
            // A raw append is decided nowhere again: its sequence is compared instead.
            let raw = matches!(decided.request.work, Work::Raw { .. });
            decided.request.check |= raw || (by_key && decided.request.holds_key);
            if decided.request.attempts > ATTEMPTS_MAX {
                self.give_up(decided.request, ExecuteError::Conflict);
            } else {
                self.admit(decided.request);
            }
        }
        for mut decided in pending.decided {
            decided.request.check |= matches!(decided.request.work, Work::Raw { .. });
            self.admit(decided.request);
        }
        for request in parked {
            self.admit(request);
        }
    }

    fn abandon_pending(&mut self) {
        let pending = mem::take(&mut self.pending);
        for stream in &pending.touched {
            self.forget(stream);
        }
        for decided in pending.decided {
            self.give_up(decided.request, ExecuteError::Unavailable);
        }
    }

    /// Takes in what was loaded and goes on with what waited for it.
    fn learn(&mut self, loaded: Loaded) {
        self.loading = false;
        let Loaded { number, streams, versions, mut answers, raws, unreadable, failed } = loaded;
        let outdated = mem::take(&mut self.outdated);
        let mut read = HashSet::with_capacity(streams.len());
        for (key, entry) in streams {
            if outdated.contains(&key) {
                continue;
            }
            read.insert(key.clone());
            if !self.cache.touch(&key) {
                self.cache.insert(key, entry);
            }
        }
        let parked = mem::take(&mut self.parked);
        self.blocked.clear();
        for mut request in parked {
            if failed {
                self.give_up(request, ExecuteError::Unavailable);
                continue;
            }
            let mut streams = request.streams.iter().chain(&request.settings);
            if let Some(error) = streams.find_map(|stream| unreadable.get(stream)) {
                let error = error.clone();
                self.give_up(request, error);
                continue;
            }
            if !request.proven && request.asked <= number {
                request.proven = self.compare(&request, &read, &versions);
            }
            if request.check
                && let Some(key) = request.key()
            {
                match answers.remove(&key) {
                    Some(Found::Nothing) => {
                        request.check = false;
                        self.checks = self.checks.saturating_sub(1);
                    }
                    Some(Found::Answer(found)) => {
                        self.checks = CHECKS_AFTER_HIT;
                        let answer = found.for_request(&request);
                        self.finish(request, answer);
                        continue;
                    }
                    None => {}
                }
            } else if let Work::Raw { stream, sequence, .. } = &request.work
                && let Some(actual) = raws.get(stream)
            {
                if actual != sequence {
                    request.answer(Err(ExecuteError::Conflict));
                    continue;
                }
                request.check = false;
            }
            self.admit(request);
        }
    }

    /// Forgets what another process has moved on from, and says whether all of the request's
    /// streams were seen by the load, which began behind the request's arrival. What is loaded
    /// from here on is newer still.
    fn compare(
        &mut self,
        request: &Request,
        read: &HashSet<StreamKey>,
        versions: &HashMap<StreamKey, i64>,
    ) -> bool {
        let mut seen = true;
        for stream in request.streams.iter().chain(&request.settings) {
            match versions.get(stream) {
                Some(stored) if *stored > self.version_of(stream) => self.cache.remove(stream),
                Some(_) => {}
                None => seen &= read.contains(stream),
            }
        }
        seen
    }

    /// Answers a request that made no row, and lets go of its key.
    fn give_up(&mut self, request: Box<Request>, error: ExecuteError) {
        self.finish(request, Err(error));
    }

    fn finish(&mut self, request: Box<Request>, answer: Result<Receipt, ExecuteError>) {
        let key = request.holds_key.then(|| request.key()).flatten();
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
            self.admit(request);
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
        self.cache.get(stream).map_or(0, |entry| entry.sequence)
    }

    /// The clock, never backwards: recorded times follow the log's order within a process.
    fn now(&mut self) -> DateTime<Utc> {
        self.last_now = self.clock.now().max(self.last_now);
        self.last_now
    }
}

fn check_version(expected: i64, actual: i64) -> Result<(), Refusal> {
    if expected == actual {
        return Ok(());
    }
    Err(Refusal {
        code: "version-mismatch".to_owned(),
        kind: RefusalKind::Precondition,
        detail: format!("expected version {expected}, but the present version is {actual}"),
        field: None,
    })
}

/// Unreachable while a request is admitted only with all of its streams in memory.
fn not_loaded() -> Refusal {
    Refusal {
        code: "not-loaded".to_owned(),
        kind: RefusalKind::Conflict,
        detail: "the stream is not in memory; try again".to_owned(),
        field: None,
    }
}

/// Is it the deadline scheduler's command?
fn settles(envelope: &Envelope) -> bool {
    use accrue_domain::account::command::Command;
    use accrue_domain::action::Action;
    matches!(envelope.actions[..], [Action::Account(_, Command::Settle)])
}

fn metadata(envelope: &Envelope, now: DateTime<Utc>) -> String {
    let metadata = Metadata {
        command_id: envelope.id.as_str().into(),
        occurred_at: envelope.occurred_at.map_or(now, |at| at.min(now)),
        correlation_id: envelope.correlation_id.clone(),
        causation_id: envelope.causation_id.clone(),
        actor: envelope.actor.clone(),
    };
    serde_json::to_string(&metadata).unwrap_or_else(|_| "{}".to_owned())
}

fn raw_row(stream: &RawStream, event: &RawEvent, now: DateTime<Utc>) -> Row {
    let program = stream.aggregate_id.split_once('/').map_or("default", |(program, _)| program);
    Row {
        program: program.into(),
        aggregate_type: Arc::clone(&stream.aggregate_type),
        aggregate_id: Arc::clone(&stream.aggregate_id),
        event_type: Arc::clone(&event.event_type),
        event_version: Arc::clone(&event.event_version),
        payload: event.payload.clone(),
        metadata: event.metadata.clone(),
        recorded_at: now,
    }
}

fn row(stream: &StreamKey, event: &Event, metadata: String, now: DateTime<Utc>) -> Row {
    let (name, version) = event.name();
    Row {
        program: stream.program().into(),
        aggregate_type: stream.kind().as_str().into(),
        aggregate_id: Arc::clone(stream.aggregate_id()),
        event_type: name.into(),
        event_version: version.to_string().into(),
        // An event is plain data: texts, numbers and lists of them always serialise.
        payload: serde_json::to_string(event).expect("events serialise"),
        metadata,
        recorded_at: now,
    }
}

fn answer_dry(request: Request, decisions: &Decisions, metadata: &str, now: DateTime<Utc>) {
    let Work::Command(envelope) = &request.work else { return };
    let mut events = Vec::new();
    for (stream, decided) in decisions {
        for event in decided {
            events.push(Arc::new(Recorded {
                position: 0,
                stream: Some(stream.clone()),
                sequence: 0,
                row: Arc::new(row(stream, event, metadata.to_owned(), now)),
                decoded: Ok(crate::record::Decoded::One(event.clone())),
            }));
        }
    }
    let receipt = Receipt {
        command_id: envelope.id.clone(),
        position: 0,
        version: 0,
        events,
        replayed: false,
    };
    request.answer(Ok(receipt));
}

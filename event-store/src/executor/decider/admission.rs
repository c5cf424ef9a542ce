//! What a command waits for before it is decided: its streams, its key, and the proof that memory
//! is as new as itself.

use std::collections::{VecDeque, hash_map};
use std::mem;

use super::super::hash::{HashMap, HashSet};
use super::super::loader::{Found, Loaded, Wanted};
use super::super::request::{Request, Work};
use super::super::warmer::Warm;
use super::{CHECKS_AFTER_HIT, Decider, Lock};
use crate::fold::Folded;
use crate::receipt::ExecuteError;
use crate::stream::StreamKey;

impl Decider {
    /// Decides a request, or parks it until what it needs is there.
    pub(super) fn admit(&mut self, mut request: Box<Request>) {
        if self.degraded {
            return self.give_up(request, ExecuteError::Unavailable);
        }
        if !request.holds_key
            && let Some(key) = &request.key
        {
            match self.keys.entry(key.clone()) {
                hash_map::Entry::Occupied(waiting) => {
                    waiting.into_mut().push(request);
                    self.twins += 1;
                    return;
                }
                hash_map::Entry::Vacant(free) => free.insert(Vec::new()),
            };
            request.holds_key = true;
            request.check |= self.checks > 0;
        }
        // Not once it has touched its streams, which have to be whole until it is decided.
        self.cache.make_room();
        if self.must_wait(&request) {
            return self.park(request);
        }
        self.decide(request);
    }

    /// Notes what is to be loaded for it, and whether it has to wait.
    fn must_wait(&mut self, request: &Request) -> bool {
        let mut wait = false;
        if request.check {
            let asked = request
                .key
                .as_ref()
                .is_some_and(|key| self.under_way.iter().any(|load| load.keys.contains(key)));
            if !asked {
                self.wanted.check(request);
            }
            wait = true;
        }
        wait |= request.needs_proof && !request.proven;
        for stream in &request.streams {
            if self.blocked.contains(stream) {
                wait = true;
            }
        }
        let mut missing = Vec::new();
        for stream in request.settings.iter().chain(&request.streams) {
            if !self.cache.touch(stream) && !missing.contains(stream) {
                missing.push(stream.clone());
            }
        }
        if self.cache.has_forgotten() {
            self.newcomers.forget();
        }
        if !wait && missing.iter().all(|stream| self.takes_for_new(stream, request)) {
            for stream in missing {
                self.guessed.insert(stream.clone());
                self.cache.insert(stream.clone(), Box::new(Folded::empty(stream.kind())));
            }
            return false;
        }
        wait |= !missing.is_empty();
        for stream in missing {
            if !self.under_way.iter().any(|load| load.streams.contains(&stream)) {
                self.wanted.streams.insert(stream);
            }
        }
        wait
    }

    /// Is a stream that is not in memory taken for new without a look? If it is not, memory is as
    /// stale as if another process had written it meanwhile, and what holds then holds here: the
    /// unique index judges events, and a decision that would leave the stream without any waits for
    /// the proof. So it has to be one that the request writes, never the settings that it reads, and a
    /// request that has waited or was decided in vain is certain of a look.
    fn takes_for_new(&self, stream: &StreamKey, request: &Request) -> bool {
        let written = request.streams.contains(stream) && request.settings.as_ref() != Some(stream);
        let first = request.asked == 0 && request.attempts == 0;
        let judged = !request.dry_run && !request.check && self.lock == Lock::Free;
        written && first && judged && self.newcomers.expects(stream.kind())
    }

    /// Has a stream that was taken for new read, since the guess led to nothing that the index
    /// would judge.
    pub(super) fn look_after_all(&mut self, request: &Request) {
        for stream in &request.streams {
            if self.version_of(stream) == 0 && self.guessed.remove(stream) {
                self.cache.remove(stream);
                self.wanted.streams.insert(stream.clone());
            }
        }
    }

    /// Lets a request wait for the next load, which also shows whether memory is as new as the
    /// request: whoever waits anyway need not ask again.
    pub(super) fn park(&mut self, mut request: Box<Request>) {
        let first = request.asked == 0;
        if first {
            request.asked = self.loads + 1;
        }
        // A request that only happens to wait asks once; one that cannot do without asks again.
        if !request.proven && (first || request.needs_proof) {
            let streams = request.streams.iter().chain(&request.settings);
            let known = streams.filter(|stream| self.cache.sequence(stream).is_some());
            self.wanted.versions.extend(known.cloned());
        }
        self.blocked.extend(request.streams.iter().cloned());
        self.parked.push_back(request);
    }

    /// Drops a stream from memory, also from what a load under way, or one beforehand, may bring of it.
    pub(super) fn forget(&mut self, stream: &StreamKey) {
        self.cache.remove(stream);
        self.warming.end_epoch();
        self.guessed.remove(stream);
        // It may well be there, and is not in memory.
        self.newcomers.learn(stream.kind(), false);
        if self.is_loading() {
            self.outdated.insert(stream.clone(), self.loads);
        }
    }

    /// Drops everything from memory. What waits for a load is decided anew behind another one; of
    /// what was decided already the unique index judges, as ever.
    pub(super) fn forget_all(&mut self) {
        self.cache.clear();
        self.guessed.clear();
        self.newcomers.forget();
        self.warming.begin_anew();
        self.superseded = self.loads;
        self.under_way.clear();
        self.outdated.clear();
        self.blocked.clear();
        self.wanted = Wanted::default();
        let mut ready = mem::take(&mut self.parked);
        for request in &mut ready {
            (request.proven, request.asked) = (false, 0);
        }
        ready.append(&mut self.ready);
        self.ready = ready;
    }

    /// Takes in what was read beforehand, unless anything has shown since that memory may be stale.
    /// What is taken in may be older than the log is by now, as if another process had been faster:
    /// what holds then holds here. Under the log's lock that must not be.
    pub(super) fn take_in(&mut self, warm: Warm) {
        if warm.epoch != self.warming.epoch() || self.lock != Lock::Free {
            return;
        }
        for (stream, packed) in warm.states {
            if !self.cache.add_packed(stream, packed) {
                self.warming.fill();
                break;
            }
        }
        self.tell_memory();
    }

    /// Takes in what was loaded: what waited for it comes before what came after.
    pub(super) fn learn(&mut self, loaded: Loaded) {
        if loaded.number <= self.superseded {
            return;
        }
        let at = self.under_way.iter().position(|load| load.number == loaded.number);
        let load = at.map(|at| self.under_way.swap_remove(at));
        let Loaded { number, streams, versions, mut answers, raws, unreadable, failed } = loaded;
        self.metrics.aggregates_loaded.inc_by(streams.len() as u64);
        let mut read = HashSet::default();
        for (key, entry) in streams {
            if self.outdated.get(&key).is_some_and(|last| number <= *last) {
                continue;
            }
            // What a rejected batch stood on is read again, so it says nothing of others.
            if self.lock == Lock::Free {
                self.newcomers.learn(key.kind(), entry.sequence == 0);
            }
            read.insert(key.clone());
            let known = self.cache.touch(&key).then(|| self.version_of(&key));
            // Memory may be ahead by what is not written yet; never may it stay behind.
            if known.is_none_or(|known| known < entry.sequence) {
                self.guessed.remove(&key);
                self.cache.insert(key, entry);
            }
        }
        let oldest = self.under_way.iter().map(|load| load.number).min();
        self.outdated.retain(|_, last| oldest.is_some_and(|oldest| oldest <= *last));
        let parked = mem::take(&mut self.parked);
        self.blocked.clear();
        let mut ready = VecDeque::with_capacity(parked.len() + self.ready.len());
        for mut request in parked {
            // Those that wait for the other load go on waiting.
            if failed && load.as_ref().is_none_or(|load| load.concerns(&request)) {
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
                && let Some(key) = &request.key
            {
                match answers.remove(key) {
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
                // A load that began before it came may have seen the stream as it was then.
                && request.asked <= number
            {
                if actual != sequence {
                    request.answer(Err(ExecuteError::Conflict));
                    continue;
                }
                request.check = false;
            }
            ready.push_back(request);
        }
        ready.append(&mut self.ready);
        self.ready = ready;
    }

    /// Forgets what another process has moved on from, and says whether all of the request's
    /// streams were seen by the load, which began behind the request's arrival. What is taken into
    /// memory from here on is newer still.
    fn compare(
        &mut self,
        request: &Request,
        read: &HashSet<StreamKey>,
        versions: &HashMap<StreamKey, i64>,
    ) -> bool {
        let mut seen = true;
        for stream in request.streams.iter().chain(&request.settings) {
            match versions.get(stream) {
                Some(stored) if *stored > self.version_of(stream) => {
                    self.forget(stream);
                }
                // It is new indeed.
                Some(_) if self.version_of(stream) == 0 => {
                    self.guessed.remove(stream);
                }
                // A decision that is kept is made again with the guess, should that be wrong.
                Some(_) => seen &= !(request.dry_run && self.guessed.contains(stream)),
                None => seen &= read.contains(stream),
            }
        }
        seen
    }
}

//! What a command leads to, on the aggregates in memory.

use std::panic::{AssertUnwindSafe, catch_unwind};

use accrue_domain::account::event::Event as OnAccount;
use accrue_domain::action::Action;
use accrue_domain::aggregate::{Context, Kind, RefusalKind};
use accrue_domain::envelope::Envelope;
use accrue_domain::event::Event;
use accrue_domain::purchase::command::{Asked, Command as OnPurchase};
use chrono::{DateTime, Utc};

use super::super::batch::Touched;
use super::super::request::{Request, Work};
use super::rows::{answer_dry, metadata, raw_row, row};
use super::{Decider, Decisions};
use crate::receipt::{ExecuteError, Refusal};
use crate::snapshots;
use crate::stream::StreamKey;

impl Decider {
    pub(super) fn decide(&mut self, request: Box<Request>) {
        let now = self.now();
        let first = self.pending.events.len();
        let envelope = match &request.work {
            Work::Command(envelope) => envelope,
            Work::Raw { .. } => return self.take_raw(request, now),
        };
        // A defect in a rule must not take the ledger down with it.
        let decided = catch_unwind(AssertUnwindSafe(|| self.decisions(&request, envelope, now)));
        let changes = matches!(&decided, Ok(Ok(it)) if it.iter().any(|(_, e)| !e.is_empty()));
        // A guess is judged by the first event of its stream. What is kept nowhere is judged by nothing.
        let given = |stream: &StreamKey| {
            let mut decided = decided.iter().flatten().flatten();
            decided.any(|(to, events)| to == stream && !events.is_empty())
        };
        let judged = |it: &StreamKey| !request.dry_run && (self.version_of(it) > 0 || given(it));
        let unsure = request.streams.iter().any(|it| self.guessed.contains(it) && !judged(it));
        if (!changes || unsure) && !request.proven {
            let mut request = request;
            request.needs_proof = true;
            self.look_after_all(&request);
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
        let metadata = metadata(envelope, request.trace.clone(), now);
        if request.dry_run {
            return answer_dry(&mut self.names, *request, &decisions, &metadata, now);
        }
        let settle = settles(envelope);
        let mut last = None;
        for (stream, events) in decisions {
            let touched = self.apply(stream, events, &metadata, now, settle);
            last = Some(touched.sequence);
            self.pending.touched.push(touched);
        }
        let version = last.unwrap_or_else(|| self.version(&request));
        self.pending.push(request, first, version, None);
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
            let action = self.told(request, &decisions, action);
            let decided = if events.is_empty() {
                entry.state.decide(action, &context)?
            } else {
                // The same stream twice in one command: the second sees what the first did.
                let mut state = entry.state.clone();
                events.into_iter().for_each(|event| state.evolve(event));
                state.decide(action, &context)?
            };
            decisions.push((stream.clone(), decided));
        }
        Ok(decisions)
    }

    /// An order is told what the products that its command names are and cost now, and once it is
    /// settled of which lots the points are that the same command takes.
    fn told(&self, request: &Request, decisions: &Decisions, action: &Action) -> Action {
        let mut action = action.clone();
        if let Action::Purchase(_, OnPurchase::Done { spent, .. }) = &mut action {
            let captured = decisions.iter().flat_map(|(_, events)| events);
            let lots = captured.filter_map(|event| match event {
                Event::Account(OnAccount::HoldCaptured { lots, .. }) => Some(lots),
                _ => None,
            });
            *spent = lots.flatten().cloned().collect();
        }
        if let Action::Purchase(_, OnPurchase::Place(place)) = &mut action {
            let quote = |asked: &Asked| {
                let of = |it: &&StreamKey| {
                    it.kind() == Kind::Product && it.id() == asked.product.as_str()
                };
                let stream = request.streams.iter().find(of)?;
                self.cache.get(stream)?.state.product()?.quote()
            };
            place.quotes = place.lines.iter().map(quote).collect();
        }
        action
    }

    /// Folds decided events into the state in memory and adds them to the batch.
    fn apply(
        &mut self,
        stream: StreamKey,
        events: Vec<Event>,
        metadata: &str,
        now: DateTime<Utc>,
        settle: bool,
    ) -> Touched {
        let Some(entry) = self.cache.get_mut(&stream) else {
            return Touched { stream, sequence: 0, due: false };
        };
        let deadline = entry.state.next_deadline();
        for event in events {
            entry.state.evolve(&event);
            entry.sequence += 1;
            let row = row(&mut self.names, &stream, &event, metadata.to_owned(), now);
            self.pending.push_event(Some(stream.clone()), entry.sequence, row, Some(event));
        }
        let moved = entry.state.next_deadline();
        if moved != deadline {
            self.pending.timers.insert(stream.clone(), moved);
        } else if settle {
            // A timer that fired is always corrected, or a stale row would fire for ever.
            self.pending.corrections.insert(stream.clone(), moved);
        }
        let due = snapshots::is_due(entry.sequence, entry.snapshot);
        Touched { stream, sequence: entry.sequence, due }
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
            self.pending.touched.push(Touched { stream: ours, sequence, due: false });
        }
        self.pending.push(request, first, sequence, None);
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
        expected_version: Some(expected),
    })
}

/// Unreachable while a request is admitted only with all of its streams in memory.
fn not_loaded() -> Refusal {
    Refusal {
        code: "not-loaded".to_owned(),
        kind: RefusalKind::Conflict,
        detail: "the stream is not in memory; try again".to_owned(),
        field: None,
        expected_version: None,
    }
}

/// Is it the deadline scheduler's command?
fn settles(envelope: &Envelope) -> bool {
    use accrue_domain::account::command::Command as OnAccount;
    use accrue_domain::product::command::Command as OnProduct;
    use accrue_domain::wallet::command::Command as OnWallet;
    matches!(
        envelope.actions[..],
        [Action::Account(_, OnAccount::Settle)
            | Action::Product(_, OnProduct::Settle)
            | Action::Wallet(_, OnWallet::Settle)]
    )
}

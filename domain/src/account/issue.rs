//! Issue and credit: new lots.

use chrono::{DateTime, Utc};

use super::Draft;
use super::command::{Issue, Source};
use super::error::Error;
use super::event::Event;
use super::fold::{credit_digest, issue_digest};
use super::lots::Lot;
use crate::digest::Digest;
use crate::expiry::{Policy, instant, lapses_at};
use crate::id::LotId;
use crate::points::{Amount, Points};
use crate::text;

/// Why and by whom an adjustment is made.
pub(super) struct Note {
    pub(super) reason: String,
    pub(super) actor: String,
    pub(super) reference: Option<String>,
}

impl Note {
    pub(super) fn new(
        reason: String,
        actor: String,
        reference: Option<String>,
    ) -> Result<Self, Error> {
        text::check(&reason).map_err(|why| Error::InvalidText { field: "/reason", why })?;
        text::check(&actor).map_err(|why| Error::InvalidText { field: "/actor", why })?;
        check_reference(reference.as_deref())?;
        Ok(Self { reason, actor, reference })
    }
}

pub(super) fn check_reference(reference: Option<&str>) -> Result<(), Error> {
    text::check_optional(reference).map_err(|why| Error::InvalidText { field: "/reference", why })
}

/// What a lot is asked to be, to be compared with one that exists. Few commands meet one, so the digest
/// is made for those alone.
struct Asked<'a, D> {
    points: Points,
    available_from: Option<DateTime<Utc>>,
    expires: Option<&'a Policy>,
    digest: D,
}

impl<D: Fn() -> Digest> Asked<'_, D> {
    fn is(&self, seen: &Lot) -> bool {
        self.points == seen.issued
            && self.available_from == seen.available_from
            && (self.digest)() == seen.digest
            && self.lapses_as(seen.expires_at)
    }

    /// A policy counts from the time of the command, and the program's own may have changed
    /// since: a retry may compute another instant and still be a retry.
    fn lapses_as(&self, seen: Option<DateTime<Utc>>) -> bool {
        match self.expires {
            None => true,
            Some(Policy::Never) => seen.is_none(),
            Some(Policy::At(at)) => instant(*at).ok() == seen,
            Some(Policy::After { .. }) => seen.is_some(),
        }
    }
}

impl Draft<'_> {
    pub(super) fn issue(&mut self, issue: Issue) -> Result<(), Error> {
        let Issue { lot, points, available_from, expires, source, reference } = issue;
        check_reference(reference.as_deref())?;
        let invalid_start = |why| Error::InvalidTime { field: "/available_from", why };
        let available_from = available_from.map(instant).transpose().map_err(invalid_start)?;
        let (lot, taken) = self.named(lot);
        let points = points.points();
        let digest = || issue_digest(&source, reference.as_deref());
        if self.was_awarded(&source, digest) {
            return Ok(());
        }
        let asked = Asked { points, available_from, expires: expires.as_ref(), digest };
        if self.exists(&lot, taken, &asked)? {
            return Ok(());
        }
        let expires_at = self.expiry(expires.as_ref(), available_from)?;
        self.add(
            Event::PointsIssued { lot, points, available_from, expires_at, source, reference },
            expires_at,
        );
        Ok(())
    }

    pub(super) fn credit(
        &mut self,
        points: Amount,
        lot: Option<LotId>,
        expires: Option<Policy>,
        note: Note,
    ) -> Result<(), Error> {
        let Note { reason, actor, reference } = note;
        let (lot, taken) = self.named(lot);
        let points = points.points();
        let digest = || credit_digest(&reason, &actor, reference.as_deref());
        let asked = Asked { points, available_from: None, expires: expires.as_ref(), digest };
        if self.exists(&lot, taken, &asked)? {
            return Ok(());
        }
        let expires_at = self.expiry(expires.as_ref(), None)?;
        self.add(
            Event::PointsCredited { lot, points, expires_at, reason, actor, reference },
            expires_at,
        );
        Ok(())
    }

    /// The lot that is asked for, and what to say where its id is taken.
    fn named(&self, lot: Option<LotId>) -> (LotId, fn(LotId) -> Error) {
        match lot {
            Some(lot) => (lot, Error::LotExists),
            None => (LotId::of_command(self.context.command_id), Error::LotOfCommandExists),
        }
    }

    /// Was that very award made by a build that gave lots of awards names which clients could have, too?
    fn was_awarded(&self, source: &Source, digest: impl Fn() -> Digest) -> bool {
        let Source::Campaign { campaign, event, .. } = source else { return false };
        let name = LotId::new(&format!("{campaign}.{event}"))
            .unwrap_or_else(|_| LotId::of_command(self.context.command_id));
        self.state.lots.get(&name).is_some_and(|seen| seen.digest == digest())
    }

    /// Was that very lot issued before? Then this is a retry. A new one must fit the balance.
    fn exists(
        &self,
        lot: &LotId,
        taken: fn(LotId) -> Error,
        asked: &Asked<'_, impl Fn() -> Digest>,
    ) -> Result<bool, Error> {
        if let Some(seen) = self.state.lots.get(lot) {
            return if asked.is(seen) { Ok(true) } else { Err(taken(lot.clone())) };
        }
        let max = Points::MAX.get();
        if self.state.balance().saturating_add(asked.points.get()) > max {
            return Err(Error::LimitExceeded { what: "the account's balance", max });
        }
        Ok(false)
    }

    /// When a new lot lapses, by its own policy or the program's.
    fn expiry(
        &self,
        expires: Option<&Policy>,
        available_from: Option<DateTime<Utc>>,
    ) -> Result<Option<DateTime<Utc>>, Error> {
        let settings = self.context.settings;
        let policy = expires.unwrap_or(&settings.expiry);
        let start = available_from
            .map_or(self.context.occurred_at, |from| from.max(self.context.occurred_at));
        let expires_at = lapses_at(policy, start, settings.zone)
            .map_err(|why| Error::InvalidTime { field: "/expires", why })?;
        match expires_at {
            Some(at) if at <= start => {
                let (start, by_program) = (start.to_rfc3339(), expires.is_none());
                let expires = at.to_rfc3339();
                Err(if by_program {
                    Error::InvalidExpiryOfProgram { start, expires }
                } else {
                    Error::InvalidExpiry { start, expires }
                })
            }
            _ => Ok(expires_at),
        }
    }

    /// Adds the lot. One that counts from long ago may have lapsed on arrival, and a debt takes
    /// what comes.
    fn add(&mut self, event: Event, expires_at: Option<DateTime<Utc>>) {
        let lapsed = expires_at.is_some_and(|at| at <= self.context.now);
        if !lapsed && self.state.debt.is_zero() {
            return self.push_last(event);
        }
        self.push(event);
        self.level();
    }
}

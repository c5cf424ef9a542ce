//! What a purchase is at, for those who look on.

use chrono::{DateTime, Utc};

use super::step::{Step, Way};
use super::{Purchase, Status};
use crate::aggregate::Aggregate as _;

/// The move of a purchase that has not come to its end, or of its open refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open<'a> {
    /// Running, waiting or stuck.
    pub status: Status,
    /// Which step it is at.
    pub step: Step,
    /// Which way.
    pub way: Way,
    /// How often a call to the outside was tried for it; 0 where none was made.
    pub attempts: u32,
    /// When this began: the order's placing, or the asking of its latest refund.
    pub since: DateTime<Utc>,
    /// What people are to look at, what came of the last attempt, or why what was done is being
    /// undone; the most pressing of these.
    pub detail: Option<&'a str>,
    /// When it is tried again, or looked after; none while it is stuck.
    pub next_at: Option<DateTime<Utc>>,
    /// When it is turned round, if it is not past that by then; none where nothing turns it.
    pub deadline: Option<DateTime<Utc>>,
}

impl Purchase {
    /// What it is at; none when nothing is left to do. Other than [`Purchase::status`], which is
    /// about what was bought, this also tells of a refund that is on its way.
    #[must_use]
    pub fn open(&self) -> Option<Open<'_>> {
        let order = self.order.as_deref()?;
        let trail = &self.trail;
        let (step, way) = trail.pending(order, self.refunds.next_step(order))?;
        let call = trail.call.as_ref().filter(|call| call.step == step && call.way == way);
        let stuck = self.stuck().map(|it| it.detail.as_str());
        let wrong = self.damage.as_deref().or(stuck);
        let status = match call {
            _ if wrong.is_some() => Status::Stuck,
            Some(call) if !call.out => Status::Waiting,
            Some(_) | None => Status::Running,
        };
        let why = trail.reason.as_ref().map(|it| it.detail.as_str());
        Some(Open {
            status,
            step,
            way,
            attempts: call.map_or(0, |call| call.attempts),
            since: trail.since.unwrap_or(order.placed_at),
            // What is wrong with the step comes before why the purchase is being undone at all.
            detail: wrong.or(call.and_then(|call| call.trouble.as_deref())).or(why),
            next_at: self.next_deadline(),
            deadline: trail.bound(order).filter(|_| wrong.is_none()),
        })
    }
}

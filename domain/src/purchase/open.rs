//! What a purchase is at, for those who look on.

use chrono::{DateTime, Utc};

use super::step::{Step, Way};
use super::{Purchase, Status};

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
    /// What people are to look at, or why what was done is being undone.
    pub detail: Option<&'a str>,
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
        let wrong = self.damage.as_deref().or(trail.stuck.as_deref());
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
            detail: wrong.or(why),
        })
    }
}

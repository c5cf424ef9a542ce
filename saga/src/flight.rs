//! Commands that were sent and not answered yet.

use std::collections::HashSet;
use std::pin::Pin;

use accrue_domain::id::{ProgramId, SaleId};
use accrue_event_store::executor::Executor;
use accrue_event_store::follow::FollowError;
use accrue_event_store::receipt::{ExecuteError, Receipt};
use accrue_event_store::trace;
use accrue_event_store::trace::span::Span;

use crate::metrics::Metrics;
use crate::plan::{Planned, Task};
use crate::skips::Skip;

/// Most commands on their way at once: bounds memory, and is more than the log writes in a batch.
const FLIGHT_MAX: usize = 8_192;

type Answer = Pin<Box<dyn Future<Output = Result<Receipt, ExecuteError>> + Send>>;

/// Commands in the order of the log, many at a time.
pub(crate) struct Flight<'a> {
    executor: &'a Executor,
    metrics: &'a Metrics,
    waiting: Vec<(Planned, Answer)>,
    sales: HashSet<(ProgramId, SaleId)>,
    /// Awards that were refused.
    refused: Vec<Skip>,
}

impl<'a> Flight<'a> {
    pub(crate) fn new(executor: &'a Executor, metrics: &'a Metrics) -> Self {
        let (waiting, sales, refused) = (Vec::new(), HashSet::new(), Vec::new());
        Self { executor, metrics, waiting, sales, refused }
    }

    /// Sends a command behind those before it.
    ///
    /// A return waits until the awards of its sale are durable. Order alone is not enough: of two
    /// commands the first may fail for lack of a database and the second find it back, and a
    /// return that finds nothing to take back is never sent again.
    pub(crate) async fn send(&mut self, planned: Planned) -> Result<(), FollowError> {
        let key = planned.sale().map(|(program, sale)| (program.clone(), sale.clone()));
        let behind = match planned.task {
            Task::Award { .. } => false,
            Task::TakeBack { .. } => key.as_ref().is_some_and(|key| self.sales.contains(key)),
        };
        if behind || self.waiting.len() >= FLIGHT_MAX {
            self.land().await?;
        }
        let mut span = Span::consumer(planned.task.name(), planned.trace.clone());
        span.note("accrue.event.position", planned.event);
        let submitted = self.executor.submit(planned.envelope());
        let answer = trace::within(span.context(), submitted).await.map_err(not_ready)?;
        let answer = async move {
            let answer = answer.await;
            drop(span);
            answer
        };
        self.waiting.push((planned, Box::pin(answer)));
        self.sales.extend(key);
        Ok(())
    }

    /// Waits for every answer, and returns the awards that were refused so far.
    pub(crate) async fn finish(mut self) -> Result<Vec<Skip>, FollowError> {
        self.land().await?;
        Ok(self.refused)
    }

    /// All answers are heard before the first failure is told: nothing is on its way any more
    /// when the events are taken up again.
    async fn land(&mut self) -> Result<(), FollowError> {
        self.sales.clear();
        let mut failure = None;
        for (planned, answer) in std::mem::take(&mut self.waiting) {
            let answer = self.heard(&planned, answer.await).await;
            if let Err(error) = answer
                && !matches!(failure, Some(FollowError::NotReady(_)))
            {
                failure = Some(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn heard(
        &mut self,
        planned: &Planned,
        answer: Result<Receipt, ExecuteError>,
    ) -> Result<(), FollowError> {
        let answer = match answer {
            // Somebody else's command has our id. The lot's id, and the share that a return takes
            // back, are safe to repeat by themselves, so the command goes without being kept.
            Err(ExecuteError::KeyReused) => {
                let mut envelope = planned.envelope();
                envelope.fingerprint = None;
                self.executor.submit(envelope).await.map_err(not_ready)?.await
            }
            answer => answer,
        };
        match answer {
            Ok(receipt) => {
                self.count(planned, &receipt);
                Ok(())
            }
            Err(ExecuteError::Refused { refusal, .. }) => self.refuse(planned, &refusal.detail),
            Err(error @ (ExecuteError::Fault | ExecuteError::KeyReused)) => {
                Err(poison(planned, &error.to_string()))
            }
            Err(
                error @ (ExecuteError::Busy { .. }
                | ExecuteError::Unavailable
                | ExecuteError::ShuttingDown
                | ExecuteError::Conflict),
            ) => Err(not_ready(error)),
        }
    }

    fn count(&self, planned: &Planned, receipt: &Receipt) {
        if receipt.replayed || receipt.events.is_empty() {
            return;
        }
        match &planned.task {
            Task::Award { points, .. } => {
                self.metrics.awards.inc();
                self.metrics.points_awarded.inc_by(points.get().unsigned_abs());
            }
            Task::TakeBack { .. } => {
                self.metrics.reversals.inc();
            }
        }
    }

    /// An award that is refused is given up, visibly. What must come back and cannot is for
    /// somebody to look at: the sale is set aside.
    fn refuse(&mut self, planned: &Planned, detail: &str) -> Result<(), FollowError> {
        let skip = planned.refused(detail).ok_or_else(|| poison(planned, detail))?;
        self.refused.push(skip);
        Ok(())
    }
}

fn poison(planned: &Planned, reason: &str) -> FollowError {
    FollowError::Poison { position: planned.event, reason: reason.to_owned() }
}

fn not_ready(error: ExecuteError) -> FollowError {
    FollowError::NotReady(error.to_string())
}

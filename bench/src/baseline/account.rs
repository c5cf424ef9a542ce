//! The baseline's account: what issuing points needs of Accrue's, with the same events.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

#[derive(Debug)]
pub(crate) enum Command {
    Issue { lot: String, points: i64, reference: Option<String> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    AccountOpened {},
    PointsIssued {
        lot: String,
        points: i64,
        source: Source,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Source {
    Issue,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("points must be more than zero")]
    NotPositive,
    #[error("the balance is beyond what an account holds")]
    Overflow,
}

#[derive(Debug, Serialize, Deserialize)]
struct Lot {
    id: String,
    remaining: i64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    open: bool,
    balance: i64,
    lots: Vec<Lot>,
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        match self {
            Self::AccountOpened {} => "AccountOpened".to_owned(),
            Self::PointsIssued { .. } => "PointsIssued".to_owned(),
        }
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = Command;
    type Event = Event;
    type Error = Error;
    type Services = ();

    async fn handle(
        &mut self,
        command: Command,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        let Command::Issue { lot, points, reference } = command;
        if points <= 0 {
            return Err(Error::NotPositive);
        }
        self.balance.checked_add(points).ok_or(Error::Overflow)?;
        if !self.open {
            sink.write(Event::AccountOpened {}, self).await;
        }
        let issued = Event::PointsIssued { lot, points, source: Source::Issue, reference };
        sink.write(issued, self).await;
        Ok(())
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::AccountOpened {} => self.open = true,
            Event::PointsIssued { lot, points, .. } => {
                self.balance = self.balance.saturating_add(points);
                self.lots.push(Lot { id: lot, remaining: points });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Account, Command, Error, Event};
    use cqrs_es::event_sink::EventSink;
    use cqrs_es::{Aggregate as _, DomainEvent as _};

    async fn issue(account: &mut Account, points: i64) -> Result<Vec<Event>, Error> {
        let sink = EventSink::default();
        let command = Command::Issue { lot: "l".to_owned(), points, reference: None };
        account.handle(command, &(), &sink).await?;
        Ok(sink.collect().await)
    }

    fn names(events: &[Event]) -> Vec<String> {
        events.iter().map(|event| event.event_type()).collect()
    }

    #[tokio::test]
    async fn the_first_issue_opens_the_account_as_in_accrue() {
        let mut account = Account::default();
        let first = issue(&mut account, 100).await.unwrap();
        assert_eq!(names(&first), ["AccountOpened", "PointsIssued"]);
        let second = issue(&mut account, 100).await.unwrap();
        assert_eq!(names(&second), ["PointsIssued"]);
        assert_eq!(account.balance, 200);
        let stored = serde_json::to_string(&second[0]).unwrap();
        let expected = r#"{"PointsIssued":{"lot":"l","points":100,"source":{"type":"issue"}}}"#;
        assert_eq!(stored, expected);
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        let mut account = Account::default();
        assert_eq!(issue(&mut account, 0).await, Err(Error::NotPositive));
        issue(&mut account, i64::MAX).await.unwrap();
        assert_eq!(issue(&mut account, 1).await, Err(Error::Overflow));
    }
}

//! Stream keys: which aggregate of which program.

use std::fmt;
use std::sync::Arc;

use accrue_domain::action::Action;
use accrue_domain::aggregate::Kind;
use accrue_domain::id::ProgramId;

/// One stream of the log. The id column holds `program/id`, so that a stream of one program can
/// never be taken for one of another; program ids contain no `/`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    kind: Kind,
    id: Arc<str>,
}

impl StreamKey {
    /// The stream of the aggregate `id` in `program`.
    #[must_use]
    pub fn new(kind: Kind, program: &ProgramId, id: &str) -> Self {
        let program = program.as_str();
        let mut key = String::with_capacity(program.len() + 1 + id.len());
        key.push_str(program);
        key.push('/');
        key.push_str(id);
        Self { kind, id: key.into() }
    }

    /// The stream that an action goes to.
    #[must_use]
    pub fn of_action(program: &ProgramId, action: &Action) -> Self {
        let id = match action {
            Action::Account(id, _) => id.as_str(),
            Action::Campaign(id, _) => id.as_str(),
            Action::Product(id, _) => id.as_str(),
            Action::Purchase(id, _) => id.as_str(),
            Action::Sale(id, _) => id.as_str(),
            Action::Wallet(id, _) => id.as_str(),
            Action::Program(_) => program.as_str(),
        };
        Self::new(action.kind(), program, id)
    }

    /// The stream of a program's settings.
    #[must_use]
    pub fn settings(program: &ProgramId) -> Self {
        Self::new(Kind::Program, program, program.as_str())
    }

    /// The stream of these columns; none where they are not ours.
    #[must_use]
    pub fn from_columns(aggregate_type: &str, aggregate_id: &str) -> Option<Self> {
        let kind = Kind::parse(aggregate_type)?;
        aggregate_id.contains('/').then(|| Self { kind, id: aggregate_id.into() })
    }

    /// What kind of aggregate.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// `aggregate_id` as stored: `program/id`.
    #[must_use]
    pub fn aggregate_id(&self) -> &Arc<str> {
        &self.id
    }

    /// The program's id.
    #[must_use]
    pub fn program(&self) -> &str {
        self.id.split_once('/').map_or("", |(program, _)| program)
    }

    /// The aggregate's id within its program.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.split_once('/').map_or("", |(_, id)| id)
    }
}

impl fmt::Display for StreamKey {
    /// The subject, as in events: `account/17850`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.id())
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.id)
    }
}

//! What every HTTP resource shares: problems, extractors, pages. Both the writing and the reading
//! service stand on it, so that neither imports the other.

pub mod expiry;
pub mod extract;
pub mod fallback;
pub mod header;
pub mod instant;
pub mod money;
pub mod object;
pub mod page;
pub mod problem;
pub mod purchase;
pub mod receipt;
pub mod rules;
pub mod saga_name;
pub mod wait;

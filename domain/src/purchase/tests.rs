//! Purchases, given / when / then.

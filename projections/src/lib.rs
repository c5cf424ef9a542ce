//! READING: read models that follow the log, and the routes that ask them.
//!
//! [`live::start`] makes the tables and follows; [`api::router`] answers. A read model is made
//! anew by [`rebuild::rebuild`] and compared with the log by [`verify::verify`].

pub mod api;
mod copy;
pub mod error;
pub mod list;
pub mod live;
pub mod model;
pub mod models;
pub mod rebuild;
pub mod verify;

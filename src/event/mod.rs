//! Events, a batch at a time: the one data structure that flows through the engine; and its two times.

mod batch;
mod clock;
pub mod cron;
pub mod json_row;
mod mark;
mod ops;
pub mod pretty;
mod times;

pub use batch::EventBatch;
pub use clock::{Clock, SystemClock, VirtualClock};
pub use mark::Mark;
pub use ops::{Op, Ops};
pub use times::{Micros, Times};

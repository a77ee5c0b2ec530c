//! What viewers see, in virtual time: the same cases on both engines' sinks, and on one that can be
//! made to refuse.

mod cases;
mod layers;
mod stage;

//! Threads of the server that hang, and threads that run out.

pub(crate) mod groups;
mod hung;
mod limited;

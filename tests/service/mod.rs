//! Aerial as a service of systemd.

mod manager;
mod monitoring;
mod unit;

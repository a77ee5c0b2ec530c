//! The benchmark's side of the viewers: has them join, and measures while they watch.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::sleep;

use super::{
    ANSWER_TIMEOUT,
    helper::Helper,
    job::HelperJob,
    process::Usage,
    viewers::{self, ViewerStats, ViewersReport},
};

/// How long to measure, and how long to wait after the last join before that.
#[derive(Clone, Copy)]
pub(super) struct Schedule {
    pub(super) settle: Duration,
    pub(super) window: Duration,
}

/// The measurements.
pub(super) struct Viewed<T> {
    /// The samples at the beginning and the end.
    pub(super) looks: [T; 2],
    /// The viewers' process likewise.
    pub(super) viewers_usage: [Usage; 2],
    /// How long it took.
    pub(super) elapsed: Duration,
    /// What the viewers saw meanwhile.
    pub(super) viewers: Vec<ViewerStats>,
}

/// Has viewers join, waits, measures, and has them leave.
pub(super) async fn measure<T>(
    job: viewers::ViewersJob,
    time: Schedule,
    look: impl Fn() -> Result<T>,
) -> Result<Viewed<T>> {
    #[expect(clippy::cast_precision_loss, reason = "the number of viewers is small")]
    let joining = Duration::from_secs_f64(job.viewers as f64 / job.joins_per_second);
    let mut helper = Helper::start(&HelperJob::Viewers(job)).await?;
    helper.answer::<String>(joining + ANSWER_TIMEOUT).await?;
    sleep(time.settle).await;
    helper.say("start").await?;
    let begin = Instant::now();
    let before = (look()?, helper.usage()?);
    sleep(time.window).await;
    helper.say("stop").await?;
    let elapsed = begin.elapsed();
    let after = (look()?, helper.usage()?);
    let seen: ViewersReport = helper.answer(ANSWER_TIMEOUT).await?;
    helper.answer::<String>(ANSWER_TIMEOUT).await?;
    Ok(Viewed {
        looks: [before.0, after.0],
        viewers_usage: [before.1, after.1],
        elapsed,
        viewers: seen.viewers,
    })
}

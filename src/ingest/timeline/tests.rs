use super::*;

const AUDIO: usize = 0;
const VIDEO: usize = 1;
const RATES: [u32; 2] = [48_000, 90_000];
/// Microseconds between two packets of sound, and between two pictures.
const INTERVALS: [i64; 2] = [20_000, 33_333];
const SECOND: i64 = 1_000_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn time(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}

#[test]
fn jitter_does_not_show() {
    let mut timeline = Timeline::new(RATES);
    let mut due = Vec::new();
    for (count, jitter) in (0..6_u64).zip([0, 15, 3, 20, 0, 7]) {
        let arrival = ms(5000 + 20 * count + jitter);
        due.push(timeline.due(AUDIO, 77_000 + 960 * count, arrival));
    }
    let steps: Vec<u128> = due
        .windows(2)
        .map(|w| w[1].saturating_sub(w[0]).as_micros())
        .collect();
    assert!(
        steps.iter().all(|step| step.abs_diff(20_000) <= 1),
        "{steps:?}"
    );
}

#[test]
fn a_clock_that_is_too_slow_or_too_fast_is_followed() {
    for packet in [19_990, 20_010] {
        let mut timeline = Timeline::new(RATES);
        let mut lag = 0;
        for count in 0..60_u64 * 50 {
            let arrival = Duration::from_micros(1_000_000 + count * packet);
            let due = timeline.due(AUDIO, 960 * count, arrival);
            lag = arrival.as_micros().abs_diff(due.as_micros());
        }
        assert!(lag < 5_000, "{lag} us");
    }
}

#[test]
fn first_reports_bring_tracks_into_sync_at_once() {
    let mut timeline = Timeline::new(RATES);
    // Sent at the same moment, but the picture came 120 ms later than the sound.
    timeline.due(AUDIO, 48_000, ms(1000));
    timeline.due(VIDEO, 900_000, ms(1120));
    timeline.report(AUDIO, 48_000, ms(70_000), ms(1120));
    timeline.report(VIDEO, 900_000, ms(70_000), ms(1120));
    let audio = timeline.due(AUDIO, 96_000, ms(2000));
    let video = timeline.due(VIDEO, 990_000, ms(2120));
    assert_eq!(audio, video);
    assert_eq!(audio, ms(2120), "the earlier track waits");
}

#[test]
fn a_jump_of_timestamps_is_a_new_start() {
    let mut timeline = Timeline::new(RATES);
    timeline.due(VIDEO, 1_000, ms(1000));
    assert_eq!(timeline.due(VIDEO, 500_000_000, ms(1033)), ms(1033));
}

#[test]
fn a_stream_of_another_publisher_is_ignored() {
    let mut timeline = Timeline::new(RATES);
    timeline.report(2, 0, ms(1), ms(1));
    assert_eq!(timeline.due(2, 0, ms(7)), ms(7));
}

/// A sender with its clocks, and the path to the server, in virtual time. Times are microseconds.
struct Sender {
    /// Drift of the sound card's clock against the sender's, in parts per million.
    card: i64,
    /// Drift of the sender's clock against the server's, in parts per million.
    drift: i64,
    /// How late a report may be against its timestamp.
    report_jitter: [i64; 2],
    /// Time between two reports.
    report_interval: [i64; 2],
    /// When the sender's clock is set, and by how much.
    jumps: Vec<(i64, i64)>,
    /// When one report of the picture is wrong by seconds.
    wrong: Vec<i64>,
    random: u64,
}

/// Measurements of the sender's streams.
#[derive(Debug, Default)]
struct Outcome {
    /// Largest distance between picture and sound, once they have been brought into sync.
    apart: i64,
    /// Largest change of that distance from one packet to the next.
    step: i64,
    /// Largest distance between arrival and due time.
    late: i64,
}

impl Sender {
    fn random(&mut self, below: i64) -> i64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        i64::try_from(self.random >> 33).unwrap() % (below + 1)
    }

    /// The sender's clock at a time of the server.
    fn clock(&self, now: i64) -> i64 {
        let jumped: i64 = self
            .jumps
            .iter()
            .filter(|(at, _)| *at <= now)
            .map(|(_, by)| by)
            .sum();
        5_000 * SECOND + now + now / SECOND * self.drift + jumped
    }

    /// The timestamp of what a stream captures at a time of the server.
    fn timestamp(&self, stream: usize, now: i64) -> u64 {
        let ppm = self.drift + if stream == AUDIO { self.card } else { 0 };
        let own = now + now * ppm / 1_000_000;
        77_000 + u64::try_from(own * i64::from(RATES[stream]) / SECOND).unwrap()
    }

    fn run(&mut self, until: i64) -> Outcome {
        // The first reports may be off by their whole jitter; that has worn off by then.
        const SETTLED: i64 = 60 * SECOND;
        let mut timeline = Timeline::new(RATES);
        let mut outcome = Outcome::default();
        let mut offsets = [None; 2];
        let (mut next, mut report) = ([SECOND; 2], [3 * SECOND; 2]);
        while next[VIDEO] < until {
            let stream = if next[AUDIO] < next[VIDEO] {
                AUDIO
            } else {
                VIDEO
            };
            let captured = next[stream];
            next[stream] += INTERVALS[stream];
            // The picture takes longer to encode.
            let delay = [30_000, 70_000][stream] + self.random(20_000);
            let arrival = captured + delay;
            let timestamp = self.timestamp(stream, captured);
            if captured >= report[stream] {
                report[stream] += self.report_interval[stream];
                let late = self.random(self.report_jitter[stream]);
                let is_wrong = stream == VIDEO && self.wrong.pop_if(|at| *at <= captured).is_some();
                let wrong = if is_wrong { 7 * SECOND } else { 0 };
                let clock = time(self.clock(captured) + late + wrong);
                timeline.report(stream, timestamp, clock, time(arrival));
            }
            let due = micros(timeline.due(stream, timestamp, time(arrival)));
            let before = offsets[stream].replace(due - captured);
            if captured < SETTLED {
                continue;
            }
            let step = before.map_or(0, |before| due - captured - before);
            outcome.step = outcome.step.max(step.abs());
            outcome.late = outcome.late.max((due - arrival).abs());
            if let [Some(audio), Some(video)] = offsets {
                outcome.apart = outcome.apart.max(i64::abs(audio - video));
            }
        }
        outcome
    }
}

/// As OBS sends: reports carry the time of sending, up to a frame's duration after the timestamp.
fn obs() -> Sender {
    Sender {
        card: 0,
        drift: 100,
        report_jitter: [20_000, 33_000],
        report_interval: [SECOND; 2],
        jumps: Vec::new(),
        wrong: Vec::new(),
        random: 0x9e37_79b9_7f4a_7c15,
    }
}

fn check(mut sender: Sender, seconds: i64) {
    let outcome = sender.run(seconds * SECOND);
    assert!(outcome.apart <= 10_000, "{outcome:?}");
    assert!(outcome.step <= 1_000, "{outcome:?}");
    assert!(outcome.late <= 100_000, "{outcome:?}");
}

#[test]
fn an_hour_of_reports_that_jitter() {
    check(obs(), 3600);
}

#[test]
fn an_hour_with_a_clock_that_is_set() {
    let mut sender = obs();
    sender.drift = -100;
    sender.jumps = vec![(1200 * SECOND, 3 * SECOND), (2400 * SECOND, -200_000)];
    sender.wrong = vec![3000 * SECOND, 600 * SECOND];
    check(sender, 3600);
}

#[test]
fn an_hour_with_a_sound_card_that_drifts() {
    let mut sender = obs();
    sender.card = 100;
    check(sender, 3600);
}

/// As browsers send: reports are exact, and those for sound are rare.
#[test]
fn an_hour_with_seldom_reports() {
    let mut sender = obs();
    sender.card = -100;
    sender.report_jitter = [0; 2];
    sender.report_interval = [5 * SECOND, SECOND];
    sender.jumps = vec![(1200 * SECOND, -90 * SECOND), (2400 * SECOND, 300_000)];
    check(sender, 3600);
}

use std::time::Duration;

use super::{Level, Reading};

/// From where on a reading stands for a level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Fraction of the limit used.
    pub warning_fill: f64,
    /// Fraction of the limit used.
    pub critical_fill: f64,
    /// Percent of time in which some task waited for memory.
    pub warning_stall: f64,
    /// Percent of time in which all tasks waited for memory.
    pub critical_stall: f64,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        // A tenth of the time waiting is what systemd-oomd and its kind begin to act on; a machine where everything waits a
        // tenth of the time can hardly be used.
        Thresholds { warning_fill: 0.85, critical_fill: 0.95, warning_stall: 10.0, critical_stall: 10.0 }
    }
}

/// Turns readings into a level that does not flutter: it rises at once, and falls only after a while of calm.
#[derive(Debug)]
pub struct Policy {
    thresholds: Thresholds,
    level: Level,
    calm_since: Option<Duration>,
}

/// How long readings must be lower before the level falls.
const CALM: Duration = Duration::from_secs(10);

/// How far below its threshold a fill must be to count as lower.
const MARGIN: f64 = 0.03;

impl Policy {
    /// A policy at [`Level::Normal`].
    pub fn new(thresholds: Thresholds) -> Policy {
        Policy { thresholds, level: Level::Normal, calm_since: None }
    }

    /// The level after a reading, `now` being the time on any clock that goes forward.
    pub fn step(&mut self, now: Duration, reading: &Reading) -> Level {
        let measured = self.judge(reading, 0.0);
        // Near the threshold the level stays what it is.
        let lower = self.judge(reading, MARGIN);
        if measured >= self.level {
            self.level = measured;
            self.calm_since = None;
        } else if lower >= self.level {
            self.calm_since = None;
        } else if now.saturating_sub(*self.calm_since.get_or_insert(now)) >= CALM {
            self.level = lower;
            self.calm_since = None;
        }
        self.level
    }

    fn judge(&self, reading: &Reading, margin: f64) -> Level {
        let Thresholds { warning_fill, critical_fill, warning_stall, critical_stall } = self.thresholds;
        let fill = reading.fill() + margin;
        let stalled = |percent: Option<f64>, threshold| percent.is_some_and(|percent| percent >= threshold);
        let measured = if fill >= critical_fill || stalled(reading.all_stalled, critical_stall) {
            Level::Critical
        } else if fill >= warning_fill || stalled(reading.some_stalled, warning_stall) {
            Level::Warning
        } else {
            Level::Normal
        };
        measured.max(reading.verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Level::{Critical, Normal, Warning};

    fn filled(percent: u64) -> Reading {
        Reading { used: percent, limit: 100, ..Reading::default() }
    }

    fn levels(readings: &[(u64, Reading)]) -> Vec<Level> {
        let mut policy = Policy::new(Thresholds::default());
        readings.iter().map(|(second, reading)| policy.step(Duration::from_secs(*second), reading)).collect()
    }

    #[test]
    fn it_rises_at_once_and_falls_after_a_calm() {
        let seen = levels(&[
            (0, filled(50)),
            (1, filled(86)),
            (2, filled(96)),
            (3, filled(50)),
            (12, filled(50)),
            (13, filled(50)),
        ]);
        assert_eq!(seen, [Normal, Warning, Critical, Critical, Critical, Normal]);
    }

    #[test]
    fn it_stays_while_the_fill_is_near_the_threshold() {
        let seen =
            levels(&[(0, filled(86)), (1, filled(84)), (30, filled(84)), (31, filled(80)), (41, filled(80))]);
        assert_eq!(seen, [Warning, Warning, Warning, Warning, Normal]);
    }

    #[test]
    fn a_relapse_starts_the_calm_anew() {
        let seen =
            levels(&[(0, filled(96)), (1, filled(10)), (9, filled(96)), (12, filled(10)), (21, filled(10))]);
        assert_eq!(seen, [Critical; 5]);
    }

    #[test]
    fn waiting_for_memory_counts_and_so_does_what_the_system_says() {
        let stalled = |some, all| Reading { some_stalled: Some(some), all_stalled: Some(all), ..filled(10) };
        assert_eq!(levels(&[(0, stalled(9.0, 9.0))]), [Normal]);
        assert_eq!(levels(&[(0, stalled(10.0, 0.0))]), [Warning]);
        assert_eq!(levels(&[(0, stalled(10.0, 10.0))]), [Critical]);
        assert_eq!(levels(&[(0, Reading { verdict: Critical, ..filled(10) })]), [Critical]);
        assert_eq!(levels(&[(0, Reading::default())]), [Normal]);
    }
}

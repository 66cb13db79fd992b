//! The word to stop, heard by listeners and sessions alike. It comes in two stages: first sessions
//! may go on to a good place to end, then they are to end where they are.

use tokio::sync::watch;

/// How far stopping is. Later stages are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    Asked,
    Overdue,
}

/// Says stop. Dropping it asks everybody to stop, but tells nobody that it is overdue.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Stage>);

/// Hears it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<Stage>);

/// One end that says stop, and one that hears it.
pub fn stop_channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(Stage::Serving);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Asks everybody to stop. Further calls do nothing.
    pub fn stop(&self) {
        self.reach(Stage::Asked);
    }

    /// Tells everybody to end at once: who does not is cut a moment later. Further calls do nothing.
    pub fn now(&self) {
        self.reach(Stage::Overdue);
    }

    fn reach(&self, stage: Stage) {
        self.0.send_if_modified(|now| {
            let later = *now < stage;
            *now = stage.max(*now);
            later
        });
    }
}

impl Stop {
    /// Waits until stopping is asked for. Cancel-safe.
    pub async fn asked(&mut self) {
        // An error means that the stopper is gone, which says the same.
        let _ = self.0.wait_for(|stage| *stage >= Stage::Asked).await;
    }

    /// Waits until stopping is overdue: whoever hears this should tell its peer and the record that
    /// the session ends, and return within the second or two before it is cut. Cancel-safe.
    pub async fn overdue(&mut self) {
        if self.0.wait_for(|stage| *stage >= Stage::Overdue).await.is_err() {
            // The stopper is gone, and with it whoever could say so.
            std::future::pending::<()>().await;
        }
    }

    /// Whether stopping is overdue: see [`Stop::overdue`].
    pub fn is_overdue(&self) -> bool {
        *self.0.borrow() >= Stage::Overdue
    }

    /// Whether stopping has been asked for.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow() >= Stage::Asked || self.0.has_changed().is_err()
    }
}

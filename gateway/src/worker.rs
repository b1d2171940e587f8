//! Handshake workers: threads of lower priority that run the flights with the key exchange and the signature, which may wait
//! for the relay. Control in and results out by bounded channels; a shard is woken when a result is there.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use protocol::{
    shard::Job,
    tls::{Unsigned, Wanted},
};
use sys::Waker;
use wire::sign::SignRequest;

use crate::{
    limits::{FLIGHTS_PER_BATCH, FLIGHTS_WORTH_A_BATCH, JOBS_QUEUED_MAX, WORKER_NICE},
    reactor::Workers,
    signer::{Batch, RelaySigner},
};

/// A shard's end: its worker's queue, and its own results.
pub(crate) struct Desk {
    jobs: Sender<Assignment>,
    done: Receiver<Job>,
    reply: Reply,
}

/// A flight, and where the result goes.
struct Assignment {
    job: Job,
    reply: Reply,
}

#[derive(Clone)]
struct Reply {
    done: Sender<Job>,
    /// Set while the shard has been woken and has not looked yet.
    woken: Arc<AtomicBool>,
    waker: Waker,
}

/// Starts `count` workers and gives each of the shards, known by their wakers, a desk at one of them. Returns when all run.
pub(crate) fn start(count: usize, wakers: &[Waker], signer: &Arc<RelaySigner>) -> io::Result<Vec<Desk>> {
    let mut queues = Vec::new();
    let (ready, started) = bounded::<()>(0);
    for number in 0..count.max(1) {
        let (jobs, queue) = bounded::<Assignment>(JOBS_QUEUED_MAX);
        let (signer, ready) = (Arc::clone(signer), ready.clone());
        thread::Builder::new().name(format!("handshake-{number}")).spawn(move || {
            // Without the right to lower it, handshakes only compete on equal terms.
            let _ = sys::lower_priority(WORKER_NICE);
            drop(ready);
            work(&queue, &signer);
        })?;
        queues.push(jobs);
    }
    drop(ready);
    // Each drops its sender once it needs no more of the system than a running gateway does.
    while started.recv().is_ok() {}
    let desks = wakers.iter().enumerate().map(|(shard, waker)| {
        // One worker serves several shards, each of which may fill its queue and have one more in its hands.
        let (sender, done) = bounded(JOBS_QUEUED_MAX + 1);
        let reply = Reply { done: sender, woken: Arc::default(), waker: waker.clone() };
        Desk { jobs: queues[shard % queues.len()].clone(), done, reply }
    });
    Ok(desks.collect())
}

fn work(queue: &Receiver<Assignment>, signer: &RelaySigner) {
    let mut flights = Vec::with_capacity(FLIGHTS_PER_BATCH);
    let mut requests = Batch::default();
    // Shards that have results and do not know it yet.
    let mut unaware: Vec<Waker> = Vec::new();
    while let Ok(first) = queue.recv() {
        flights.push(first);
        flights.extend(queue.try_iter().take(FLIGHTS_PER_BATCH - 1));
        if flights.len() < FLIGHTS_WORTH_A_BATCH {
            flights.iter_mut().for_each(|flight| flight.job.run());
        } else {
            together(&mut flights, &mut requests, signer);
        }
        for Assignment { job, reply } in flights.drain(..) {
            // It has room for every flight that can be under way; a shard that has ended takes no more.
            if reply.done.send(job).is_ok() && !reply.woken.swap(true, Ordering::AcqRel) {
                unaware.push(reply.waker);
            }
        }
        unaware.drain(..).for_each(|waker| waker.wake());
    }
}

/// Runs several flights with one exchange with the relay.
fn together(flights: &mut [Assignment], requests: &mut Batch, signer: &RelaySigner) {
    requests.clear();
    let mut asking = Vec::with_capacity(flights.len());
    for Assignment { job, .. } in flights {
        let Some(Wanted { key, scheme, message }) = job.begin() else { continue };
        if requests.add(&SignRequest { key: *key, scheme: *scheme, message }) {
            asking.push(job);
        } else {
            job.finish(Err(Unsigned::Refused));
        }
    }
    if asking.is_empty() {
        return;
    }
    for (job, signature) in asking.into_iter().zip(signer.sign_all(requests)) {
        job.finish(signature);
    }
}

impl Workers for Desk {
    fn submit(&mut self, job: Job) -> Result<(), Job> {
        match self.jobs.try_send(Assignment { job, reply: self.reply.clone() }) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => Err(back.job),
        }
    }

    fn take(&mut self) -> Option<Job> {
        if let Ok(job) = self.done.try_recv() {
            return Some(job);
        }
        // Empty: from here on a result wakes again. One that came in between is seen by the second look.
        self.reply.woken.store(false, Ordering::Release);
        self.done.try_recv().ok()
    }
}

//! The modes: what connections are for, one file each. Each makes a plan from its options, runs it and reports.

pub mod fanout;
pub mod handshake;
pub mod idle;
pub mod rpc;

use crate::options::ModeArgs;
use crate::plan::Plan;
use crate::report::Report;

/// A mode with its options checked; nothing has been opened yet.
#[derive(Debug)]
pub enum Mode {
    /// Hold.
    Idle(Plan, idle::Idle),
    /// Publish to many.
    Fanout(Plan, fanout::Fanout),
    /// Ask and wait.
    Rpc(Plan, rpc::Rpc),
    /// Open and reset.
    Handshake(Plan, handshake::Handshake),
}

impl Mode {
    /// Checks the options; the error is a sentence.
    pub fn new(args: &ModeArgs) -> Result<Self, String> {
        Ok(match args {
            ModeArgs::Idle(args) => {
                let (plan, idle) = idle::Idle::new(args)?;
                Self::Idle(plan, idle)
            }
            ModeArgs::Fanout(args) => {
                let (plan, fanout) = fanout::Fanout::new(args)?;
                Self::Fanout(plan, fanout)
            }
            ModeArgs::Rpc(args) => {
                let (plan, rpc) = rpc::Rpc::new(args)?;
                Self::Rpc(plan, rpc)
            }
            ModeArgs::Handshake(args) => {
                let (plan, handshake) = handshake::Handshake::new(args)?;
                Self::Handshake(plan, handshake)
            }
        })
    }

    /// What is common.
    pub fn plan(&self) -> &Plan {
        match self {
            Self::Idle(plan, _) | Self::Fanout(plan, _) | Self::Rpc(plan, _) | Self::Handshake(plan, _) => {
                plan
            }
        }
    }

    /// Does it. The error is a sentence about this machine, not about the server.
    pub fn run(&self) -> Result<Report, String> {
        match self {
            Self::Idle(plan, idle) => idle.run(plan),
            Self::Fanout(plan, fanout) => fanout.run(plan),
            Self::Rpc(plan, rpc) => rpc.run(plan),
            Self::Handshake(plan, handshake) => handshake.run(plan),
        }
    }
}

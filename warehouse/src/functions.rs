//! Table functions: what takes a run as its argument.

use std::sync::Arc;

use datafusion::execution::SessionState;

use crate::snapshots::Snapshots;

mod saturation_curve;

use saturation_curve::SaturationCurve;

/// Makes the functions known to a session; they read `snapshots` with their
/// owner's rights.
pub(crate) fn register(session: &mut SessionState, snapshots: &Arc<Snapshots>) {
    let function = SaturationCurve::new(Arc::clone(snapshots));
    session.register_udtf(SaturationCurve::NAME, Arc::new(function));
}

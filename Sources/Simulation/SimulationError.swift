package import Formats

/// What kept the simulator from being run.
package enum SimulationErrorCode: String, ErrorCode {
    /// There are no such suites, tasks or init states.
    case selection
    /// The simulator could not be found or set up.
    case setUp
    /// Setting it up needs an agreement that was not given.
    case notAgreed
    /// The policy server ended before it listened.
    case serverEnded
    case stopped
}

package typealias SimulationError = CodedError<SimulationErrorCode>

/// What the numbers of an action and a state are: widths, what is normalised and how, and the gripper.
///
/// It comes from the data: sets of LIBERO's widths have its gripper, any other set is trained on and executed as it is stored, as
/// the reference does for two-armed ALOHA (14 and 14 joints).
package struct Embodiment: Codable, Equatable, Sendable {
    package enum Gripper: String, Codable, Sendable {
        /// The last number of an action: stored -1 open and +1 closed, trained and predicted as 1 open and 0 closed, executed as
        /// stored, open or closed entirely.
        case libero
        /// Trained, predicted and executed as stored.
        case asStored
    }

    /// What -1 and 1 stand for after normalisation.
    package enum Range: String, Codable, Sendable {
        /// The 1 % and 99 % quantiles.
        case quantiles
        /// The smallest and the largest value, as the reference does for ALOHA.
        case extremes
    }

    /// Numbers of an action.
    package let actionWidth: Int
    /// Numbers of the proprioceptive state; 0 when the set has none.
    package let stateWidth: Int
    package let gripper: Gripper
    package let range: Range

    /// End-effector deltas of one arm and its gripper; position, axis-angle and two finger joints.
    package static let libero = Embodiment(actionWidth: 7, stateWidth: 8)

    package init(actionWidth: Int, stateWidth: Int) {
        (self.actionWidth, self.stateWidth) = (actionWidth, stateWidth)
        gripper = (actionWidth, stateWidth) == (7, 8) ? .libero : .asStored
        range = (actionWidth, stateWidth) == (14, 14) ? .extremes : .quantiles
    }

    /// Which numbers of an action are normalised: all but the gripper that ends the seven of one arm.
    package var actionMask: [Bool] { (0..<actionWidth).map { actionWidth != 7 || $0 < 6 } }

    /// Stored actions, rows of ``actionWidth``, to what policies are trained on.
    func trained(_ stored: inout [Float]) {
        guard gripper == .libero else { return }
        for last in stride(from: actionWidth - 1, to: stored.count, by: actionWidth) {
            stored[last] = 1 - min(max(stored[last], 0), 1)
        }
    }

    /// Un-normalised predictions, rows of ``actionWidth``, to what a robot executes: the gripper closed or opened entirely.
    package func executed(_ predicted: inout [Float]) {
        guard gripper == .libero else { return }
        for last in stride(from: actionWidth - 1, to: predicted.count, by: actionWidth) {
            predicted[last] = predicted[last] > 0.5 ? -1 : predicted[last] < 0.5 ? 1 : 0
        }
    }

    /// "7 action and 8 state numbers".
    package var summary: String { "\(actionWidth) action and \(stateWidth) state numbers" }
}

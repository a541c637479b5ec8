/// What a server asks for actions. Not for use by several threads at once.
package protocol ServedPolicy {
    /// What clients and pages are told.
    var summary: Policy.Summary { get }
    /// What whoever serves it should know.
    var notes: [String] { get }

    /// A chunk of actions, [chunk, actionDim], as an environment takes them.
    func actions(for observation: Observation) throws -> [Float]
}

import PluginKit

/// A setting that lists numbers, separated by spaces: one for all objectives, or one for each.
public struct NumberList: Sendable {
    private let name: String
    private let values: [Double]

    /// - Parameters:
    ///   - name: of the setting.
    ///   - text: its value.
    public init(_ name: String, _ text: String) throws {
        self.name = name
        values = try text.split(separator: " ").map { item in
            guard let value = Double(String(item)), value.isFinite else {
                throw PluginError("\(name)='\(text)': '\(item)' is not a number; write numbers separated by spaces")
            }
            return value
        }
        guard !values.isEmpty else { throw PluginError("\(name) is empty: give one number, or one per objective") }
    }

    /// The numbers by objective of the run.
    public func values(of objectives: Int) throws -> [Double] {
        if values.count == 1 { return [Double](repeating: values[0], count: objectives) }
        guard values.count == objectives else {
            throw PluginError("\(name) lists \(values.count) numbers, but there are \(objectives) objectives")
        }
        return values
    }

    /// The numbers as they were given.
    public var given: [Double] { values }
}

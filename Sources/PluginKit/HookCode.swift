internal import PluginAPI

/// A choice that an integer of the plugin interface stands for: `BlockScope.layer`. As a setting it is a text with these
/// choices.
public protocol HookCode: SettingValue, ScalarResultValue, RawRepresentable, CaseIterable where RawValue == Int64 {
    /// As a user types it.
    var name: String { get }
}

extension HookCode {
    /// A setting's type at the boundary: text.
    public static var settingType: Int32 { Int32(CRAFT_STRING) }
    /// The names of all codes.
    public static var settingChoices: [String] { allCases.map(\.name) }
    /// The code's name.
    public var settingText: String { name }
    /// The code of a name; nil when there is none of it.
    public init?(integer: Int64, number: Double, text: String) {
        guard let value = Self.allCases.first(where: { $0.name == text }) else { return nil }
        self = value
    }
}

extension HookCode {
    /// The type's name in a signature: codes pass as `i64`.
    public static var elementName: String { Int.elementName }
    /// The letter by which a call form names a result of this type.
    public static var resultCode: Character { Int.resultCode }
    /// The code's number.
    public var resultBits: Int64 { rawValue }
    /// The code with this number.
    public init(resultBits: Int64) {
        guard let value = Self(rawValue: resultBits) else {
            preconditionFailure("\(resultBits) is no \(Self.self): the result was read before it was written")
        }
        self = value
    }
}

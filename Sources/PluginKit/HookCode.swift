internal import PluginAPI

/// A choice that an integer of the plugin interface stands for: `BlockScope.layer`. As a setting it is a text with these
/// choices.
public protocol HookCode: SettingValue, ScalarResultValue, RawRepresentable, CaseIterable where RawValue == Int64 {
    /// As a user types it.
    var name: String { get }
}

extension HookCode {
    public static var settingType: Int32 { Int32(CRAFT_STRING) }
    public static var settingChoices: [String] { allCases.map(\.name) }
    public var settingText: String { name }
    public init?(integer: Int64, number: Double, text: String) {
        guard let value = Self.allCases.first(where: { $0.name == text }) else { return nil }
        self = value
    }
}

extension HookCode {
    public static var elementName: String { Int.elementName }
    public static var resultCode: Character { Int.resultCode }
    public var resultBits: Int64 { rawValue }
    public init(resultBits: Int64) {
        guard let value = Self(rawValue: resultBits) else {
            preconditionFailure("\(resultBits) is no \(Self.self): the result was read before it was written")
        }
        self = value
    }
}

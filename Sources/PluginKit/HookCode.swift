internal import PluginAPI

/// A choice that an integer of the plugin interface stands for: `BlockScope.layer`. As a setting it is a text with these
/// choices.
public protocol HookCode: SettingValue, RawRepresentable, CaseIterable where RawValue == Int64 {
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

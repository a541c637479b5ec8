public import PluginAPI
import PluginKit

// The header declares it, so a wrong signature does not compile.
// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation
public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: CoTraining.self) }

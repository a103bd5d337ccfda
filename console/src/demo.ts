// The users of the demo.

/** The two demo users: each one's default receiver is the other. */
export const presets = {
  ann: { name: "Ann", userId: "ANZ-123223", other: "ben" },
  ben: { name: "Ben", userId: "ANZ-123224", other: "ann" },
} as const;

/** What the demo's users sign in with; any token will do. */
export const demo = { appId: "app-id-343", token: "token-12345" } as const;

export type PresetName = keyof typeof presets;

export function isPreset(name: string): name is PresetName {
  return Object.hasOwn(presets, name);
}

/** What the demo calls a user; undefined where it has no name for him. */
export function demoName(userId: string): string | undefined {
  return Object.values(presets).find((one) => one.userId === userId)?.name;
}

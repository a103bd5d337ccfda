import { AxeBuilder } from "@axe-core/playwright";
import type { Page } from "@playwright/test";

export type ColorScheme = "light" | "dark";

/**
 * What axe finds wrong with a page as it is. In the light everything is looked
 * at; in the dark the same document has other colours, so only the rules about
 * these can find what the light has not shown.
 */
export async function problems(page: Page, colorScheme: ColorScheme): Promise<string[]> {
  // The pages have no frames. Without the care for these axe needs no page of its own for each result.
  // Nor has it to describe all that is as it should be.
  const axe = new AxeBuilder({ page }).setLegacyMode().options({ resultTypes: ["violations"] });
  if (colorScheme === "light") axe.withTags(["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]);
  else axe.withRules(["color-contrast", "link-in-text-block"]);
  const found = await axe.analyze();
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

/** A QR code that a phone can read from a terminal. The package is loaded when one is drawn. */
export async function qrCode(text: string, options: { colour: boolean }): Promise<string> {
  const { default: qrcode } = await import("qrcode");
  // With colours the code is dark on light whatever the terminal's theme; without, most phones
  // read the inverted code as well.
  const drawn = options.colour
    ? await qrcode.toString(text, { type: "terminal", small: true })
    : await qrcode.toString(text, { type: "utf8" });
  return drawn.replace(/\n$/, "");
}

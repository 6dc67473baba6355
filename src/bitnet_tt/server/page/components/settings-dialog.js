// The settings of requests. They hold for the next message of every chat.
import { NUMBERS, saveSettings, settings } from "../state/settings.js";
import { html, useState } from "../ui.js";
import { Dialog } from "./dialog.js";

export function SettingsDialog({ onClose }) {
  const [values, setValues] = useState(settings.get().values);
  const [resets, setResets] = useState(0); // Part of the fields' keys: a reset makes new, empty fields.
  const change = (name, value) => {
    const next = { ...values, [name]: value };
    if (value === undefined) delete next[name];
    setValues(next);
    saveSettings(next);
  };
  const close = (event) => event.currentTarget.closest("dialog").close();
  const reset = () => {
    setValues({ system: "" });
    saveSettings({ system: "" });
    setResets(resets + 1);
  };
  return html`
    <${Dialog} title="Settings" onClose=${onClose}>
      <p class="hint">They hold for your next message, in every chat. Empty: the server's default.</p>
      <label class="field">
        <span>System prompt</span>
        <textarea
          rows="4"
          value=${values.system}
          placeholder="How the model should answer"
          onInput=${(event) => change("system", event.currentTarget.value)}
        ></textarea>
      </label>
      <div class="fields">
        ${NUMBERS.map((field) => {
          const { name } = field;
          return html`<${NumberField} key=${name + resets} field=${field} value=${values[name]} onChange=${change} />`;
        })}
      </div>
      <div class="dialog-actions">
        <button type="button" onClick=${reset}>Reset all</button>
        <button type="button" class="primary" onClick=${close}>Done</button>
      </div>
    <//>
  `;
}

// Return what is wrong with the text of a number field, or "".
function problemOf(input, field) {
  const number = input.valueAsNumber;
  if (input.value === "" && !input.validity.badInput) return "";
  if (Number.isNaN(number)) return "Not a number.";
  if (field.step === 1 && !Number.isInteger(number)) return "A whole number, please.";
  if (number < field.min) return `At least ${field.min}.`;
  if (number > field.max) return `At most ${field.max}.`;
  return "";
}

// A number or nothing. While the text is not a valid number, the setting is not sent, and the field says why.
function NumberField({ field, value, onChange }) {
  const [text, setText] = useState(String(value ?? ""));
  const [problem, setProblem] = useState("");
  const onInput = (event) => {
    const input = event.currentTarget;
    const found = problemOf(input, field);
    setText(input.value);
    setProblem(found);
    onChange(field.name, found || input.value === "" ? undefined : input.valueAsNumber);
  };
  const hint = `hint-${field.name}`;
  return html`
    <label class="field">
      <span>${field.label}</span>
      <input
        type="number"
        name=${field.name}
        min=${field.min}
        max=${field.max}
        step=${field.step === 1 ? 1 : "any"}
        inputmode=${field.step === 1 ? "numeric" : "decimal"}
        value=${text}
        placeholder="default"
        aria-describedby=${hint}
        aria-invalid=${problem ? "true" : "false"}
        onInput=${onInput}
      />
      <small id=${hint} class=${problem ? "problem" : "hint"}>${problem || field.hint}</small>
    </label>
  `;
}
